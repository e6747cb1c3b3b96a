package wgnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

const (
	// MinKeyOverlap is the shortest overlap of the node's keys.
	MinKeyOverlap = time.Second
	// MaxKeyOverlap is a quarter of a year: a device that was switched on in none of it is rather given a new configuration by
	// hand, and whoever has stolen the former key can pose as the node for as long.
	MaxKeyOverlap = 90 * 24 * time.Hour
)

// overlap is the time in which clients may know the node by its former key too; zero: there is none.
//
//	none -- RotateKey --> on -- its end, EndKeyOverlap, RotateKey at once --> over -- file and record are rid of it --> none
type overlap struct {
	// private is zero when it is not to be had.
	private, public wgtypes.Key
	until           time.Time // by the wall clock
	unserved        bool
	// over: what is kept of the former key has still to be removed.
	over bool
	// retryAt is when something that failed is tried again.
	retryAt time.Time
}

// on reports whether clients may know the node by its former key.
func (o overlap) on() bool { return o.public != (wgtypes.Key{}) && !o.over }

// key is what the dataplane is told; zero: none.
func (o overlap) key() wgtypes.Key {
	if !o.on() || o.unserved {
		return wgtypes.Key{}
	}
	return o.private
}

// wake is when there is something to do; zero: never.
func (o overlap) wake() time.Time {
	if o.on() && o.retryAt.IsZero() {
		return o.until
	}
	return o.retryAt
}

// formerFile is where the former key is while the key is in a file.
func formerFile(keyFile string) string { return keyFile + ".former" }

// served is a node's key, and the former one during an overlap.
type served struct {
	private wgtypes.Key
	base    keyRecord // what the store knows of it
	overlap overlap
}

func (s served) record() keyRecord { return s.base.with(s.overlap) }

// served is what there is now. The caller holds the slot.
func (n *Node) served() served {
	return served{private: wgtypes.Key(n.up.privateKey.Bytes()), base: n.up.base, overlap: n.up.overlap}
}

// EndKeyOverlap ends the overlap that [Node.RotateKey] began before its time: from then on only clients that know the node by its
// present key connect, and other sessions end. Without an overlap it is a success that changes nothing. Errors:
// [ErrNotStarted], [ErrClosed], and what the store and the dataplane return, after which the overlap goes on; after an error of
// the key's file ([keyfile.Error]) it is over, and the node goes on trying to remove the former key.
func (n *Node) EndKeyOverlap(ctx context.Context) error {
	if err := n.endKeyOverlap(ctx); err != nil {
		return &OpError{Op: "end key overlap", Err: err}
	}
	return nil
}

func (n *Node) endKeyOverlap(ctx context.Context) (err error) {
	ctx, end := n.trace(ctx, "end key overlap", Subject{}, 0)
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if now := n.served(); now.overlap.on() {
		after := now
		after.overlap.over = true
		// The store has it first: from then on no start serves the former key.
		decided, err := n.storedKey(after.record(), now.record())
		if err != nil {
			return err
		}
		if err := n.perform(ctx, decided, step{name: "apply to dataplane", do: n.stopServing}); err != nil {
			return err
		}
		n.overlapOver()
		if after.record() == after.base { // there is nothing left
			n.setOverlap(overlap{})
		}
	}
	return n.tidyOverlap(ctx)
}

// storedKey is the step that writes the record of the node's key.
func (n *Node) storedKey(after, before keyRecord) (step, error) {
	batch, inverse, err := mutationsOf(after, before)
	return n.stored(batch, inverse), err
}

func mutationsOf(after, before keyRecord) (batch, inverse []Mutation, err error) {
	a, err := after.encode()
	if err != nil {
		return nil, nil, err
	}
	b, err := before.encode()
	return []Mutation{put(a)}, []Mutation{put(b)}, err
}

// stopServing has the dataplane serve the node's own key alone.
func (n *Node) stopServing(ctx context.Context) error {
	now := n.served()
	if now.overlap.key() == (wgtypes.Key{}) {
		return nil // as it does
	}
	return n.cfg.Dataplane.(KeyChanger).SetKeys(ctx, now.private, wgtypes.Key{})
}

// overlapOver notes that nobody is served with the former key any more. The caller holds the slot.
func (n *Node) overlapOver() {
	o := n.up.overlap
	n.settle(func(inv *inventory) {
		n.up.overlap = overlap{public: o.public, over: true}
		for p := range inv.peers.All() {
			if p.connection != nil {
				p.connection.formerKey = false
			}
		}
	})
	n.keyDoubtful = n.keyDoubtful && o.key() == (wgtypes.Key{})
	n.health.lacks(FormerKeyUnusable, FormerKeyKept)
	n.log.Info("overlap of the node's keys is over", "public_key", n.up.publicKey, "former", o.public)
	n.events.publish(Event{Kind: KeyOverlapEnded, NodeKey: n.up.publicKey, FormerNodeKey: o.public})
}

// setOverlap has the node's goroutine look at it at the right time. The caller holds the slot.
func (n *Node) setOverlap(o overlap) {
	n.settle(func(*inventory) { n.up.overlap = o })
}

// tidyOverlap removes what is kept of a former key that is no more served: its file first, as it is the record that a start knows
// of the file from. What fails is a problem until it is done. The caller holds the slot.
func (n *Node) tidyOverlap(ctx context.Context) error {
	o := n.up.overlap
	if !o.over {
		return nil
	}
	err := n.forget(ctx, o.public)
	if err == nil {
		n.setOverlap(overlap{})
		n.health.lacks(FormerKeyKept)
		return nil
	}
	n.keepTrying(fmt.Errorf("the former key %s is no more served, but not removed yet: %w", o.public, err))
	return err
}

func (n *Node) forget(ctx context.Context, public wgtypes.Key) error {
	if n.cfg.PrivateKeyFile != "" {
		if err := n.removeFormer(public); err != nil {
			return err
		}
	}
	record, err := n.up.base.encode()
	if err != nil {
		return err
	}
	return n.commit(ctx, []Mutation{put(record)}, nil) // made or not, a start does the rest
}

// removeFormer removes the file of a former key. A file that somebody put there in its place is not the node's to remove.
func (n *Node) removeFormer(public wgtypes.Key) error {
	err := keyfile.Remove(formerFile(n.cfg.PrivateKeyFile), public)
	if errors.Is(err, keyfile.ErrOtherKey) {
		n.log.Warn("file of the former key left alone", "error", err)
		return nil
	}
	return err
}

// keepTrying notes why something of an overlap's end failed.
func (n *Node) keepTrying(err error) {
	n.log.Warn("end of the overlap of the node's keys is tried again", "error", err)
	n.health.has(HealthProblem{Kind: FormerKeyKept, What: fmt.Sprintf("%v; the node goes on trying", err)})
	o := n.up.overlap
	o.retryAt = time.Now().Add(retryDelay)
	n.setOverlap(o)
}

// meetOverlap ends an overlap whose time has come, and removes what is left of one that is over. The caller holds the slot.
func (n *Node) meetOverlap(ctx context.Context, now time.Time) {
	o := n.up.overlap
	if o.public == (wgtypes.Key{}) || o.retryAt.After(now) || o.on() && o.until.After(now) {
		return
	}
	if o.on() {
		if err := n.stopServing(ctx); err != nil {
			n.keepTrying(fmt.Errorf("the former key %s is still served, though its overlap ended at %s: %w", o.public,
				o.until.Format(time.RFC3339), err))
			return
		}
		n.overlapOver()
	}
	_ = n.tidyOverlap(ctx) // which tells
}

// beginOverlap takes up, after a start, what the store knew of an overlap, and returns what there is to tell.
func (n *Node) beginOverlap(ctx context.Context, key keyChoice) []Event {
	n.health.lacks(FormerKeyKept, FormerKeyUnusable)
	o := n.up.overlap
	if key.unserved != nil {
		n.health.has(HealthProblem{Kind: FormerKeyUnusable, What: fmt.Sprintf("clients that know the node by its former key %s cannot connect, "+
			"though they may until %s: %v; or end the overlap", o.public, o.until.Format(time.RFC3339), key.unserved)})
	}
	_ = n.tidyOverlap(ctx) // which tells
	if key.ended == (wgtypes.Key{}) {
		return nil
	}
	n.log.Info("overlap of the node's keys is over", "public_key", n.up.publicKey, "former", key.ended)
	return []Event{{Kind: KeyOverlapEnded, NodeKey: n.up.publicKey, FormerNodeKey: key.ended}}
}
