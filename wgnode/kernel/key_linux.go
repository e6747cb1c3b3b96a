package kernel

import (
	"context"
	"errors"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

var _ wgnode.KeyChanger = (*Dataplane)(nil)

// SetKeys gives the device other keys. Only the device is concerned: tables, queues and counters stay. The WireGuard module has one
// key for each interface: there a former key is an error that matches [wgnode.ErrNotSupported].
func (dp *Dataplane) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	if err := dp.enter(ctx); err != nil {
		return err
	}
	defer dp.leave()
	none := wgtypes.Key{}
	if former != none && dp.chosen == DriverModule {
		return &wgnode.NotSupportedError{
			Feature:  "serving a former key of the node beside the next one with the WireGuard module, which has one key for each interface,",
			Requires: "wireguard-go in its place (Config.Driver: DriverTUN), the userspace dataplane, or a rotation without an overlap",
		}
	}
	if key == dp.fixed.PrivateKey && former == dp.fixed.FormerKey {
		return nil
	}
	if dp.device != nil { // else its interface is gone: the next repair makes it anew, with the keys that it finds here
		if err := dp.setKeys(ctx, key, former); err != nil {
			// What was done of it is undone whatever became of the caller.
			back := dp.setKeys(context.WithoutCancel(ctx), dp.fixed.PrivateKey, dp.fixed.FormerKey)
			return errors.Join(fmt.Errorf("kernel: change the private key: %w", err), back)
		}
	}
	dp.fixed.PrivateKey, dp.fixed.FormerKey = key, former
	return nil
}
