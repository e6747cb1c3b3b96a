package wgnode

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// KeyChanger is a [Dataplane] whose private key can be changed while it runs. All of this module are.
type KeyChanger interface {
	// SetKeys takes the place of DataplaneConfig.PrivateKey and FormerKey. A session that was made with one of the two keys goes on;
	// every other one ends, so that from the return on no packet passes but of peers who know one of them. Peers, limits, budgets
	// and counters stay. After an error the dataplane has the keys that it had, but its peers may have to shake hands anew. The
	// keys that it has already change nothing. A former key, which is zero for none, gives an error that matches
	// [ErrNotSupported], and changes nothing, where peers of one key alone can be served.
	SetKeys(ctx context.Context, key, former wgtypes.Key) error
}

// KeyRotation says which key a node shall have.
type KeyRotation struct {
	// PrivateKey is the new key; zero has the node make one.
	PrivateKey wgtypes.Key
	// Overlap is for how long clients may still know the node by its former key, MinKeyOverlap to MaxKeyOverlap; 0: not at all.
	Overlap time.Duration
}

// RotatedKey is what a rotation came to.
type RotatedKey struct {
	// PublicKey is the node's now, FormerKey what it was before: the same when the node had the key already.
	PublicKey, FormerKey wgtypes.Key
	// OverlapEnds is when clients that know the node by its former key cannot connect any more; zero: they cannot now.
	OverlapEnds time.Time
}

// RotateKey gives the node another key, at once: [Node.ClientConfig] has the new public key from then on. Peers stay as they are.
//
// Without an overlap clients connect with the new key and with no other; all sessions end. With one, those that know the node by
// the former key keep their sessions and connect anew until the overlap ends, by the clock, over restarts too, or until
// [Node.EndKeyOverlap]; [PeerQuality] says which they are. Then the former key is nowhere any more, and its sessions end. There is
// one overlap at a time: another is [ErrKeyOverlap], and a rotation without one ends it, and all sessions.
//
// The keys are durable, in [Config.PrivateKeyFile] and, with ".former" at the end of its name, a file beside it, or else the
// store: a process that is killed meanwhile starts as before or after. Asking again with the same key is a success that changes
// nothing. Errors: [*ValidationError] for a key that is a peer's, for an overlap that is out of range, or when the program gave
// the key as [Config.PrivateKey] and so must keep it; [ErrKeyMismatch] when someone changed the file meanwhile; [ErrNotSupported]
// for a dataplane that is no [KeyChanger], or that cannot serve two keys; [ErrNotStarted], [ErrClosed], and what the files, the
// store and the dataplane return, after which the keys are as they were, but that peers may have to shake hands anew.
func (n *Node) RotateKey(ctx context.Context, rotation KeyRotation) (RotatedKey, error) {
	rotated, err := n.rotateKey(ctx, rotation)
	if err != nil {
		return RotatedKey{}, &OpError{Op: "rotate key", Err: err}
	}
	return rotated, nil
}

func (n *Node) rotateKey(ctx context.Context, rotation KeyRotation) (_ RotatedKey, err error) {
	ctx, end := n.trace(ctx, "rotate key", Subject{}, 0)
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return RotatedKey{}, err
	}
	defer release()
	next, err := n.nextKey(rotation)
	if err != nil {
		return RotatedKey{}, err
	}
	now := time.Now()
	n.meetOverlap(ctx, now)
	before := n.served()
	rotated := RotatedKey{PublicKey: next.PublicKey(), FormerKey: n.up.publicKey}
	switch {
	case rotated.PublicKey == rotated.FormerKey && before.overlap.on():
		rotated.OverlapEnds = before.overlap.until
		return rotated, nil
	case rotated.PublicKey == rotated.FormerKey:
		return rotated, nil
	case before.overlap.on() && rotation.Overlap > 0:
		return RotatedKey{}, fmt.Errorf("%w: clients may know the node by its former key %s until %s: end that first with EndKeyOverlap, or "+
			"change the key without an overlap", ErrKeyOverlap, before.overlap.public, before.overlap.until.Format(time.RFC3339))
	}
	exchange, err := ecdh.X25519().NewPrivateKey(next[:])
	if err != nil {
		return RotatedKey{}, fmt.Errorf("use private key: %w", err)
	}
	if err := n.tidyOverlap(ctx); err != nil { // of an overlap that is over
		return RotatedKey{}, err
	}
	after := served{private: next, base: keyRecord{private: next}}
	if n.cfg.PrivateKeyFile != "" {
		after.base = keyRecord{public: rotated.PublicKey}
	}
	if rotation.Overlap > 0 {
		rotated.OverlapEnds = wallClock(now.Add(rotation.Overlap))
		after.overlap = overlap{private: before.private, public: rotated.FormerKey, until: rotated.OverlapEnds}
	}
	steps, err := n.rotationSteps(before, after)
	if err != nil {
		return RotatedKey{}, err
	}
	if err := n.perform(ctx, steps...); err != nil {
		return RotatedKey{}, err
	}
	if before.overlap.on() {
		n.overlapOver()
	}
	n.settle(func(*inventory) {
		n.up.publicKey, n.up.privateKey, n.up.base, n.up.overlap = rotated.PublicKey, exchange, after.base, after.overlap
	})
	n.keyDoubtful = false
	n.lookAt = time.Time{} // whose handshakes were with which key
	n.log.Info("node's key changed", "public_key", rotated.PublicKey, "former", rotated.FormerKey, "overlap_ends", rotated.OverlapEnds)
	n.events.publish(Event{
		Kind: NodeRekeyed, NodeKey: rotated.PublicKey, FormerNodeKey: rotated.FormerKey, OverlapEnds: rotated.OverlapEnds,
	})
	return rotated, nil
}

// nextKey is the key that a rotation leads to, checked.
func (n *Node) nextKey(rotation KeyRotation) (wgtypes.Key, error) {
	var p problems
	if n.cfg.PrivateKey != (wgtypes.Key{}) {
		p.add("Config.PrivateKey", "is set, so that the program keeps the key: start with another one there, or let the node keep it, "+
			"with Config.PrivateKeyFile")
	}
	if d := rotation.Overlap; d != 0 && d < MinKeyOverlap || d > MaxKeyOverlap {
		p.add("Overlap", "is %v: it must be %v to %v, or 0 for none", d, MinKeyOverlap, MaxKeyOverlap)
	}
	next := clamp(rotation.PrivateKey)
	if _, ok := n.inv.peers.Get(next.PublicKey()); ok && rotation.PrivateKey != (wgtypes.Key{}) {
		p.add("PrivateKey", "is a peer's: give another one")
	}
	if err := p.err("key rotation"); err != nil {
		return wgtypes.Key{}, err
	}
	if rotation.PrivateKey == (wgtypes.Key{}) {
		return wgtypes.GeneratePrivateKey()
	}
	return next, nil
}

// rotationSteps are the parts of a rotation: the keys are durable before they are in force.
func (n *Node) rotationSteps(before, after served) ([]step, error) {
	changer, ok := n.cfg.Dataplane.(KeyChanger)
	if !ok {
		return nil, &NotSupportedError{"changing the node's key", "a dataplane that is a KeyChanger"}
	}
	applied := step{
		name: "apply to dataplane",
		do:   func(ctx context.Context) error { return changer.SetKeys(ctx, after.private, after.overlap.key()) },
		undo: func(ctx context.Context) error {
			err := n.putKeys(ctx, before)
			n.keyDoubtful = err != nil
			return err
		},
	}
	if n.cfg.PrivateKeyFile == "" {
		stored, err := n.storedKey(after.record(), before.record())
		return []step{stored, applied}, err
	}
	f := fileRotation{node: n, path: n.cfg.PrivateKeyFile, before: before, after: after}
	if err := f.encode(); err != nil {
		return nil, err
	}
	return []step{
		{name: "check private key", do: f.check},
		{name: "write private key", do: f.write, undo: f.restore},
		applied,
		{name: "write to store", do: f.finish},
	}, nil
}

// putKeys gives the dataplane the keys that it should have; the former one not where a start did not either.
func (n *Node) putKeys(ctx context.Context, s served) error {
	changer, former := n.cfg.Dataplane.(KeyChanger), s.overlap.key()
	err := changer.SetKeys(ctx, s.private, former)
	if former != (wgtypes.Key{}) && errors.Is(err, ErrNotSupported) {
		err = changer.SetKeys(ctx, s.private, wgtypes.Key{})
	}
	return err
}

// mendKey gives the dataplane the node's keys after a rotation that could not be undone. The caller holds the slot.
func (n *Node) mendKey(ctx context.Context) ([]Repair, error) {
	if !n.keyDoubtful {
		return nil, nil
	}
	if err := n.putKeys(ctx, n.served()); err != nil {
		return nil, fmt.Errorf("put the node's private key back: %w", err)
	}
	n.keyDoubtful = false
	return []Repair{{What: "put the node's private key back"}}, nil
}
