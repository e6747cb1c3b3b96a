package wgnode

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
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
}

// RotatedKey is what a rotation came to.
type RotatedKey struct {
	// PublicKey is the node's now, FormerKey what it was before: the same when the node had the key already.
	PublicKey, FormerKey wgtypes.Key
}

// RotateKey gives the node another key, at once: clients connect with the new public key, which [Node.ClientConfig] has from
// then on, and with the former one no more; their sessions end. Peers stay as they are. The key is durable, in
// [Config.PrivateKeyFile] or else the store: a process that is killed meanwhile starts with the one key or the other. Asking
// again with the same key is a success that changes nothing. Errors: [*ValidationError] for a key that is a peer's, or when the
// program gave the key as [Config.PrivateKey] and so must keep it; [ErrKeyMismatch] when someone changed the file meanwhile;
// [ErrNotSupported] for a dataplane that is no [KeyChanger]; [ErrNotStarted], [ErrClosed], and what the file, the store and the
// dataplane return, after which the key is as it was, but that peers may have to shake hands anew.
func (n *Node) RotateKey(ctx context.Context, rotation KeyRotation) (RotatedKey, error) {
	rotated, err := n.rotateKey(ctx, rotation)
	if err != nil {
		return RotatedKey{}, &OpError{Op: "rotate key", Err: err}
	}
	return rotated, nil
}

func (n *Node) rotateKey(ctx context.Context, rotation KeyRotation) (RotatedKey, error) {
	release, err := n.acquire(ctx)
	if err != nil {
		return RotatedKey{}, err
	}
	defer release()
	next, err := n.nextKey(rotation)
	if err != nil {
		return RotatedKey{}, err
	}
	rotated := RotatedKey{PublicKey: next.PublicKey(), FormerKey: n.up.publicKey}
	if rotated.PublicKey == rotated.FormerKey {
		return rotated, nil
	}
	exchange, err := ecdh.X25519().NewPrivateKey(next[:])
	if err != nil {
		return RotatedKey{}, fmt.Errorf("use private key: %w", err)
	}
	steps, err := n.rotationSteps(wgtypes.Key(n.up.privateKey.Bytes()), next)
	if err != nil {
		return RotatedKey{}, err
	}
	if err := n.perform(ctx, steps...); err != nil {
		return RotatedKey{}, err
	}
	n.settle(func(*inventory) { n.up.publicKey, n.up.privateKey = rotated.PublicKey, exchange })
	n.log.Info("node's key changed", "public_key", rotated.PublicKey, "former", rotated.FormerKey)
	n.events.publish(Event{Kind: NodeRekeyed, NodeKey: rotated.PublicKey, FormerNodeKey: rotated.FormerKey})
	return rotated, nil
}

// nextKey is the key that a rotation leads to, checked.
func (n *Node) nextKey(rotation KeyRotation) (wgtypes.Key, error) {
	if n.cfg.PrivateKey != (wgtypes.Key{}) {
		return wgtypes.Key{}, &ValidationError{"key rotation", []Problem{{"Config.PrivateKey",
			"is set, so that the program keeps the key: start with another one there, or let the node keep it, with Config.PrivateKeyFile"}}}
	}
	if rotation.PrivateKey == (wgtypes.Key{}) {
		return wgtypes.GeneratePrivateKey()
	}
	next := clamp(rotation.PrivateKey)
	if _, ok := n.inv.peers[next.PublicKey()]; ok {
		return wgtypes.Key{}, &ValidationError{"key rotation", []Problem{{"PrivateKey", "is a peer's: give another one"}}}
	}
	return next, nil
}

// rotationSteps are the parts of a rotation: the key is durable before it is in force.
func (n *Node) rotationSteps(former, next wgtypes.Key) ([]step, error) {
	changer, ok := n.cfg.Dataplane.(KeyChanger)
	if !ok {
		return nil, &NotSupportedError{"changing the node's key", "a dataplane that is a KeyChanger"}
	}
	applied := step{
		name: "apply to dataplane",
		do:   func(ctx context.Context) error { return changer.SetKeys(ctx, next, wgtypes.Key{}) },
		undo: func(ctx context.Context) error {
			err := changer.SetKeys(ctx, former, wgtypes.Key{})
			n.keyDoubtful = err != nil
			return err
		},
	}
	if n.cfg.PrivateKeyFile == "" {
		before, err := keyRecord{private: former}.encode()
		if err != nil {
			return nil, err
		}
		after, err := keyRecord{private: next}.encode()
		if err != nil {
			return nil, err
		}
		return []step{n.stored([]Mutation{put(after)}, []Mutation{put(before)}), applied}, nil
	}
	f := fileRotation{node: n, path: n.cfg.PrivateKeyFile, former: former, next: next}
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

// mendKey gives the dataplane the node's key after a rotation that could not be undone. The caller holds the slot.
func (n *Node) mendKey(ctx context.Context) ([]Repair, error) {
	if !n.keyDoubtful {
		return nil, nil
	}
	if err := n.cfg.Dataplane.(KeyChanger).SetKeys(ctx, wgtypes.Key(n.up.privateKey.Bytes()), wgtypes.Key{}); err != nil {
		return nil, fmt.Errorf("put the node's private key back: %w", err)
	}
	n.keyDoubtful = false
	return []Repair{{What: "put the node's private key back"}}, nil
}

// fileRotation takes a key in a file to another, of which the store knows the public part. While it is under way the store knows
// both, so that a start goes on with whichever the file has.
type fileRotation struct {
	node                *Node
	path                string
	former, next        wgtypes.Key
	before, both, after []Mutation
}

func (f *fileRotation) encode() error {
	for record, batch := range map[keyRecord]*[]Mutation{
		{public: f.former.PublicKey()}:                           &f.before,
		{public: f.former.PublicKey(), next: f.next.PublicKey()}: &f.both,
		{public: f.next.PublicKey()}:                             &f.after,
	} {
		r, err := record.encode()
		if err != nil {
			return err
		}
		*batch = []Mutation{put(r)}
	}
	return nil
}

// check looks whether the file still has the node's key, lest another that someone put there is lost.
func (f *fileRotation) check(context.Context) error {
	has, err := keyfile.Read(f.path)
	if err != nil {
		return err
	}
	if has, former := has.PublicKey(), f.former.PublicKey(); has != former {
		return fmt.Errorf("%w: key file %s has the key of %s now, and this node runs with that of %s: put its file back, or start the "+
			"node anew", ErrKeyMismatch, f.path, has, former)
	}
	return nil
}

func (f *fileRotation) write(ctx context.Context) error {
	if err := f.node.commit(ctx, f.both, f.before); err != nil {
		return err
	}
	if err := keyfile.Replace(f.path, f.next); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwindTimeout)
		defer cancel()
		return errors.Join(err, f.restore(ctx))
	}
	return nil
}

// restore sees to it that the file has the former key. As long as it may have the next one, the store knows both.
func (f *fileRotation) restore(ctx context.Context) error {
	if has, err := keyfile.Read(f.path); err != nil || has != f.former {
		if err := keyfile.Replace(f.path, f.former); err != nil {
			return fmt.Errorf("%w (the next start may have the new key)", err)
		}
	}
	return f.node.commit(ctx, f.before, f.before)
}

func (f *fileRotation) finish(ctx context.Context) error { return f.node.commit(ctx, f.after, f.both) }
