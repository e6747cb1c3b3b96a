package kernel

import (
	"context"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// DisturbKey gives the WireGuard device another private key behind the dataplane's back, as "wg set" does, and no peers.
func (dp *Dataplane) DisturbKey(ctx context.Context, key wgtypes.Key) error {
	dp.turn <- struct{}{}
	defer dp.leave()
	return dp.device.SetKeys(ctx, key, wgtypes.Key{}, nil)
}

// DeviceKey is the private key that the WireGuard device has.
func (dp *Dataplane) DeviceKey(ctx context.Context) (wgtypes.Key, error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	status, err := dp.device.Status(ctx)
	return status.PrivateKey, err
}

// DevicePeers are the peers that the WireGuard device has.
func (dp *Dataplane) DevicePeers(ctx context.Context) ([]wgdev.PeerStatus, error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	status, err := dp.device.Status(ctx)
	return status.Peers, err
}
