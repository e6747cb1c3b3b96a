package kernel

import (
	"context"
	"errors"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

var _ wgnode.KeyChanger = (*Dataplane)(nil)

// SetKeys gives the device another private key. Only the device is concerned: tables, queues and counters stay.
func (dp *Dataplane) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	if former != (wgtypes.Key{}) {
		return &wgnode.NotSupportedError{Feature: "serving two keys of the node at a time", Requires: "a dataplane with two devices"}
	}
	if err := dp.enter(ctx); err != nil {
		return err
	}
	defer dp.leave()
	if key == dp.fixed.PrivateKey {
		return nil
	}
	if dp.device == nil { // its interface is gone: the next repair makes it anew, with the key that it finds here
		dp.fixed.PrivateKey = key
		return nil
	}
	if err := dp.device.SetKey(ctx, key, dp.devicePeers()); err != nil {
		// What was done of it is undone whatever became of the caller.
		back := dp.device.SetKey(context.WithoutCancel(ctx), dp.fixed.PrivateKey, dp.devicePeers())
		return errors.Join(fmt.Errorf("kernel: change the private key: %w", err), back)
	}
	dp.fixed.PrivateKey = key
	return nil
}
