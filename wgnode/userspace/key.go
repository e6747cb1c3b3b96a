package userspace

import (
	"context"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

var _ wgnode.KeyChanger = (*Dataplane)(nil)

// SetKeys gives the device other keys. Only the device is concerned: peers' flows, queues and counters stay.
func (dp *Dataplane) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	dp.mu.Lock()
	defer dp.mu.Unlock()
	if err := dp.usableLocked(ctx); err != nil {
		return err
	}
	if err := dp.device.SetKeys(ctx, key, former, devicePeers(dp.path.Want().State().Peers)); err != nil {
		return fmt.Errorf("userspace: change the private key: %w", err)
	}
	return nil
}
