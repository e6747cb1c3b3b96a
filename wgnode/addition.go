package wgnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// maxTogether is how many peers are added in one transaction of the store and one change of the dataplane.
const maxTogether = 256

// addition is one peer on its way in.
type addition struct {
	ctx     context.Context
	spec    PeerSpec    // checked, with a public key
	private wgtypes.Key // of a key pair that the node made
	peer    *peer       // what is made of it, unless it is there already

	done  chan struct{} // closed when the rest is set
	added AddedPeer
	err   error
}

// newAddition checks a specification, and makes the key pair that it leaves to the node. Curve arithmetic costs more than all
// that follows but the dataplane's part: it is done before the slot is taken.
func (n *Node) newAddition(ctx context.Context, spec PeerSpec) (*addition, error) {
	if err := n.checkPeer(spec, time.Now()); err != nil {
		return nil, err
	}
	a := &addition{ctx: ctx, spec: spec, done: make(chan struct{})}
	if spec.PublicKey == (wgtypes.Key{}) {
		var err error
		if a.private, err = wgtypes.GeneratePrivateKey(); err != nil {
			return nil, err
		}
		a.spec.PublicKey = a.private.PublicKey()
	}
	return a, nil
}

func (a *addition) settled() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// arrivals are the additions that wait. Whoever gets the slot takes in the others' with its own: a thousand callers share a
// few waits for the disk.
type arrivals struct {
	mu      sync.Mutex
	waiting []*addition
}

func (q *arrivals) join(a *addition) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, a)
}

// leave takes back an addition; false: somebody is at it.
func (q *arrivals) leave(a *addition) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, a)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// take returns those that came first, of each peer one: another of the same key has to see what becomes of it.
func (q *arrivals) take() (batch []*addition) {
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := make(map[wgtypes.Key]bool)
	var rest []*addition
	for _, a := range q.waiting {
		if len(batch) == maxTogether || keys[a.spec.PublicKey] {
			rest = append(rest, a)
			continue
		}
		keys[a.spec.PublicKey] = true
		batch = append(batch, a)
	}
	q.waiting = rest
	return batch
}

// admitted waits until a peer was added, by this caller or by another who had the slot.
func (n *Node) admitted(ctx context.Context, a *addition) (AddedPeer, error) {
	n.arrivals.join(a)
	release, err := n.acquireUnless(ctx, a.done)
	switch {
	case err != nil && n.arrivals.leave(a):
		return AddedPeer{}, err
	case err != nil: // it is under way, and bound to end soon
		<-a.done
	case release != nil:
		defer release()
		for !a.settled() {
			n.admit(n.arrivals.take())
		}
	}
	return a.added, a.err
}

// admit adds peers with different keys together, and tells those who wait. The caller holds the slot.
func (n *Node) admit(batch []*addition) {
	ctx, stop := together(batch)
	defer stop()
	var fresh []*addition
	for _, a := range batch {
		if a.err = n.prepare(a, n.inv.sequence+1+uint64(len(fresh))); a.peer != nil {
			fresh = append(fresh, a)
		}
	}
	if refused, err := n.install(ctx, fresh); err != nil && (!refused || len(fresh) == 1) {
		for _, a := range fresh {
			a.err = err
		}
	} else if err != nil {
		// The dataplane does not say which it cannot take.
		n.log.Debug("peers not added together, adding each", "peers", len(fresh), "error", err)
		for _, a := range fresh {
			a.peer = nil
			if a.err = n.prepare(a, n.inv.sequence+1); a.err == nil {
				_, a.err = n.install(a.ctx, []*addition{a})
			}
		}
	}
	for _, a := range batch {
		// The context for all does not know why each one's has ended.
		if cause := context.Cause(a.ctx); errors.Is(a.err, context.Canceled) && cause != nil && !errors.Is(a.err, cause) {
			a.err = fmt.Errorf("%w: %w", cause, a.err)
		}
		close(a.done)
	}
}

// together returns a context for all additions: it ends when those of all have, or what the node does for others takes too
// long.
func together(batch []*addition) (context.Context, context.CancelFunc) {
	if len(batch) == 1 {
		return context.WithCancel(batch[0].ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), taskTimeout)
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, len(batch))
	for i, a := range batch {
		stops[i] = context.AfterFunc(a.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// prepare makes the peer of an addition, with addresses, unless there is such a peer already. The caller holds the slot.
func (n *Node) prepare(a *addition, sequence uint64) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	if p, ok := n.inv.peers.Get(a.spec.PublicKey); ok {
		if !p.matches(a.spec) {
			return ErrExists
		}
		a.added = AddedPeer{Peer: p.view()}
		return nil
	}
	now := time.Now()
	if at := a.spec.ExpiresAt; n.up.owns(a.spec.PublicKey) || !at.IsZero() && !at.After(now) {
		return n.checkPeer(a.spec, now) // it became the node's meanwhile, or its time has come, and that of the peer that was there
	}
	if err := n.checkAccount(a.spec.Account); err != nil {
		return err // it was removed meanwhile
	}
	p, err := newPeer(a.spec, sequence, now)
	if err != nil {
		return err
	}
	if p.addrs, err = n.lease(p.key, a.spec.Addrs); err != nil {
		return fmt.Errorf("lease an address: %w", err)
	}
	n.inv.receive(p, now)
	a.peer = p
	return nil
}

// install takes prepared peers through store and dataplane, all or none, and makes them the node's. After an error their
// addresses are free again; refused says that the error is the dataplane's, which one of several may be the cause of.
func (n *Node) install(ctx context.Context, fresh []*addition) (refused bool, err error) {
	if len(fresh) == 0 {
		return false, nil
	}
	defer func() {
		if err == nil {
			return
		}
		for _, a := range fresh {
			err = errors.Join(err, n.unlease(a.peer.addrs))
		}
	}()
	peers := make([]*peer, len(fresh))
	for i, a := range fresh {
		peers[i] = a.peer
	}
	insertion, deletion, err := insertionOf(peers...)
	if err != nil {
		return false, err
	}
	steps := []step{n.stored(append(insertion, n.resting.endRest(peers)...), deletion)}
	for part := range slices.Chunk(peers, maxTogether) {
		var change, inverse Change
		for _, p := range part {
			p.addTo(&change)
			inverse.RemovePeers = append(inverse.RemovePeers, p.key)
		}
		applied := n.applied(change, inverse)
		do := applied.do
		applied.do = func(ctx context.Context) error {
			err := do(ctx)
			refused = err != nil
			return err
		}
		steps = append(steps, applied)
	}
	if err := n.perform(ctx, steps...); err != nil {
		return refused, err
	}
	n.settle(func(inv *inventory) {
		for _, p := range peers {
			p.applied = p.ledger.Budget()
			inv.addPeer(p)
		}
	})
	for _, p := range peers {
		for _, addr := range p.addrs {
			delete(n.resting, addr)
		}
	}
	events := make([]Event, len(fresh))
	for i, a := range fresh {
		p := a.peer
		a.added = AddedPeer{Peer: p.view(), PrivateKey: a.private, Created: true}
		n.log.Debug("peer added", "peer", p.key, "account", p.account, "addresses", p.addrs)
		events[i] = Event{Kind: PeerAdded, Peer: p.key, Account: p.account}
	}
	n.events.publish(events...)
	return false, nil
}
