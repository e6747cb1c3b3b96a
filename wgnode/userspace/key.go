package userspace

import (
	"context"
	"errors"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

var _ wgnode.KeyChanger = (*Dataplane)(nil)

// SetKeys gives the device another private key. Only the device is concerned: peers' flows, queues and counters stay.
func (dp *Dataplane) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	if former != (wgtypes.Key{}) {
		return &wgnode.NotSupportedError{Feature: "serving two keys of the node at a time", Requires: "a dataplane with two devices"}
	}
	dp.mu.Lock()
	defer dp.mu.Unlock()
	if err := dp.usableLocked(ctx); err != nil {
		return err
	}
	if key == dp.fixed.PrivateKey {
		return nil
	}
	if err := dp.configure(dp.withKey(key)); err != nil {
		return errors.Join(err, dp.configure(dp.withKey(dp.fixed.PrivateKey)))
	}
	dp.fixed.PrivateKey = key
	return nil
}

// withKey is all that the device is to be told when its key is another.
func (dp *Dataplane) withKey(key wgtypes.Key) string {
	var w strings.Builder
	writeKey(&w, key)
	for _, p := range dp.path.Want().State().Peers {
		writePeer(&w, p)
	}
	return w.String()
}
