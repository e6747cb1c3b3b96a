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

// DeviceKeys are the private keys that the WireGuard device has: the node's and a former one.
func (dp *Dataplane) DeviceKeys(ctx context.Context) (key, former wgtypes.Key, err error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	status, err := dp.device.Status(ctx)
	return status.PrivateKey, status.FormerKey, err
}

// DevicePeers are the peers that the WireGuard device has.
func (dp *Dataplane) DevicePeers(ctx context.Context) ([]wgdev.PeerStatus, error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	status, err := dp.device.Status(ctx)
	return status.Peers, err
}
