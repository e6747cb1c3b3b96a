package userspace

import (
	"context"
	"errors"

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
	peers := devicePeers(dp.path.Want().State().Peers)
	if err := dp.device.SetKey(context.WithoutCancel(ctx), key, peers); err != nil {
		return errors.Join(err, dp.device.SetKey(context.WithoutCancel(ctx), dp.fixed.PrivateKey, peers))
	}
	dp.fixed.PrivateKey = key
	return nil
}
