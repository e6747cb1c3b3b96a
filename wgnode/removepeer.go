package wgnode

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// RemovePeer removes a peer: from the dataplane first, so that nothing of it passes any more, then from the store; its
// addresses go into quarantine. A peer that is not there is [ErrNotFound]. When it fails, or ctx ends first, the peer is
// as it was, and may have had to shake hands anew.
func (n *Node) RemovePeer(ctx context.Context, key wgtypes.Key) error {
	if err := n.removePeer(ctx, key); err != nil {
		return &OpError{"remove", OfPeer(key), err}
	}
	return nil
}

func (n *Node) removePeer(ctx context.Context, key wgtypes.Key) (err error) {
	ctx, end := n.trace(ctx, "remove peer", OfPeer(key), 1)
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	p, ok := n.inv.peers.Get(key)
	if !ok {
		return ErrNotFound
	}
	return n.uninstall(ctx, RemovalRequested, []*peer{p})
}

// uninstall removes peers together, and accounts that have no others, all or none. The caller holds the slot.
func (n *Node) uninstall(ctx context.Context, reason RemovalReason, peers []*peer, accounts ...*account) error {
	var removal, restoration Change
	leaving := entities(peers)
	for _, p := range peers {
		removal.RemovePeers = append(removal.RemovePeers, p.key)
	}
	for _, a := range accounts {
		leaving = append(leaving, a)
		removal.RemoveAccounts = append(removal.RemoveAccounts, a.id)
	}
	// The last counters go into the events, and back into the dataplane if the removal has to be undone. A dataplane that
	// cannot read them is no reason to keep anybody.
	if _, err := n.read(ctx, queryOf(leaving...)); err != nil {
		n.log.Warn("last counters not read", "error", err)
	}
	for _, e := range leaving {
		e.addTo(&restoration)
	}
	deletion, insertion, err := removalOf(leaving...)
	if err != nil {
		return err
	}
	rest, begun, undone, err := restOf(n.up.pool, peers, time.Now())
	if err != nil {
		return err
	}
	deletion, insertion = append(deletion, begun...), append(insertion, undone...)
	n.logLast(ctx, lastReadings(leaving))
	if err := n.perform(ctx, n.applied(removal, restoration), n.stored(deletion, insertion)); err != nil {
		return err
	}
	n.settle(func(inv *inventory) {
		for _, p := range peers {
			inv.removePeer(p)
		}
		for _, a := range accounts {
			inv.removeAccount(a)
		}
	})
	maps.Copy(n.resting, rest)
	n.farewell(reason, peers, accounts)
	return nil
}

// farewell gives back the addresses of peers that were removed, and tells of them and of accounts.
func (n *Node) farewell(reason RemovalReason, peers []*peer, accounts []*account) {
	var events []Event
	for _, p := range peers {
		if err := n.release(p); err != nil {
			n.log.Error("address of a removed peer not released", "peer", p.key, "error", err)
		}
		events = append(events, removed(p, reason))
		n.log.Debug("peer removed", "peer", p.key, "reason", reason)
	}
	for _, a := range accounts {
		events = append(events, Event{Kind: AccountRemoved, Account: a.id, Counters: a.counters})
		n.log.Debug("account removed", "account", a.id)
	}
	n.events.publish(events...)
}

// release gives a peer's addresses back, into quarantine.
func (n *Node) release(p *peer) error {
	var errs []error
	for _, addr := range p.addrs {
		errs = append(errs, n.up.pool.Release(addr))
	}
	return errors.Join(errs...)
}

func removed(p *peer, reason RemovalReason) Event {
	return Event{Kind: PeerRemoved, Peer: p.key, Account: p.account, Reason: reason, Counters: p.counters}
}

// expire removes the peers whose time is over.
func (n *Node) expire(ctx context.Context, due []entity, now time.Time) error {
	var expired []*peer
	for _, e := range due {
		if p, ok := e.(*peer); ok && p.over(now) {
			expired = append(expired, p)
		}
	}
	if len(expired) == 0 {
		return nil
	}
	slices.SortFunc(expired, func(a, b *peer) int { return compareOrder(a, b.sequence) })
	return n.uninstall(ctx, RemovalExpired, expired)
}
