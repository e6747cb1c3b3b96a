package wgnode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// fileRotation takes a key in a file to another, of which the store knows the public part. While it is under way the store knows
// both, so that a start goes on with whichever the file has, and undoes or completes the rest: see keyRecord.overlaps.
type fileRotation struct {
	node          *Node
	path          string
	before, after served

	undone, both, done []Mutation
}

// begins reports whether the rotation begins an overlap.
func (f *fileRotation) begins() bool { return f.after.overlap.on() }

func (f *fileRotation) encode() (err error) {
	both := f.before.record()
	both.next = f.after.base.public
	if f.begins() {
		both.former = f.after.record().former
	}
	if f.both, f.undone, err = mutationsOf(both, f.before.record()); err != nil {
		return err
	}
	f.done, _, err = mutationsOf(f.after.record(), both)
	return err
}

// check looks whether the files still have what the node knows, lest another key that someone put there is lost.
func (f *fileRotation) check(context.Context) error {
	has, err := keyfile.Read(f.path)
	if err != nil {
		return err
	}
	if has, former := has.PublicKey(), f.before.base.public; has != former {
		return fmt.Errorf("%w: key file %s has the key of %s now, and this node runs with that of %s: put its file back, or start the "+
			"node anew", ErrKeyMismatch, f.path, has, former)
	}
	if !f.begins() {
		return nil
	}
	has, err = keyfile.Read(formerFile(f.path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: it is where the former key is to be: move it away", err)
	case has.PublicKey() != f.before.base.public:
		return fmt.Errorf("key file %s has the key of %s, and is where the former key is to be: move it away", formerFile(f.path),
			has.PublicKey())
	}
	return nil
}

// write puts the former key on the disk before the next one takes its place.
func (f *fileRotation) write(ctx context.Context) error {
	if err := f.node.commit(ctx, f.both, f.undone); err != nil {
		return err
	}
	var err error
	if f.begins() {
		err = keyfile.Replace(formerFile(f.path), f.before.private)
	}
	if err == nil {
		err = keyfile.Replace(f.path, f.after.private)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwindTimeout)
		defer cancel()
		return errors.Join(err, f.restore(ctx))
	}
	return nil
}

// restore sees to it that the files have what they had. As long as they may have more, the store knows of it.
func (f *fileRotation) restore(ctx context.Context) error {
	if has, err := keyfile.Read(f.path); err != nil || has != f.before.private {
		if err := keyfile.Replace(f.path, f.before.private); err != nil {
			return fmt.Errorf("%w (the next start may have the new key)", err)
		}
	}
	if f.begins() {
		if err := keyfile.Remove(formerFile(f.path), f.before.base.public); err != nil {
			f.node.setOverlap(overlap{public: f.before.base.public, over: true, retryAt: time.Now().Add(retryDelay)})
			return err
		}
	}
	return f.node.commit(ctx, f.undone, f.undone)
}

// finish removes the key of an overlap that the rotation ends, and has the store know the next key alone.
func (f *fileRotation) finish(ctx context.Context) error {
	former := f.before.overlap
	if former.on() {
		if err := f.node.removeFormer(former.public); err != nil {
			return err
		}
	}
	err := f.node.commit(ctx, f.done, f.both)
	if err != nil && former.key() != (wgtypes.Key{}) {
		err = errors.Join(err, keyfile.Replace(formerFile(f.path), former.private))
	}
	return err
}
