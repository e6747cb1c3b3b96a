package kernel

import (
	"context"

	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// DevicePeers are the peers that the WireGuard device has.
func (dp *Dataplane) DevicePeers(ctx context.Context) ([]wgdev.PeerStatus, error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	return dp.device.Peers(ctx)
}
