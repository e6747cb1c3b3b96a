package userspace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/heap"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// BenchmarkRegisteredMemory is what a dataplane that runs keeps for a peer with limits and a cap that was never heard of, more than one
// without peers and beside what the node has given it: in the packet path and in the registry of the device.
func BenchmarkRegisteredMemory(b *testing.B) {
	const peers = 100_000
	b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
		want := wgnode.State{Peers: make([]wgnode.PeerState, peers)}
		for i := range want.Peers {
			addr := [16]byte{0: 0xfd, 1: 0x77}
			binary.BigEndian.PutUint32(addr[12:], 10<<24|uint32(i+2))
			var key wgtypes.Key
			// As those of real keys, the bytes of which a map makes its hash are not in order.
			binary.BigEndian.PutUint64(key[:], uint64(i+1)*0x9e3779b97f4a7c15)
			want.Peers[i] = wgnode.PeerState{
				PublicKey: key, Addrs: []netip.Addr{netip.AddrFrom4([4]byte(addr[12:])), netip.AddrFrom16(addr)},
				SpeedLimit: shaping.Limit{Download: 20e6, Upload: 5e6}, Budget: quota.Budget{Limited: true, Limit: 1 << 40},
			}
		}
		running := func(want wgnode.State) float64 {
			return heap.PerItem(peers, func() any {
				r := newRig(b, Config{}, want)
				stats, err := r.dp.Stats(b.Context(), wgnode.StatsQuery{All: true})
				require.NoError(b, err)
				require.Len(b, stats.Peers, len(want.Peers))
				return r
			})
		}
		var bytes float64
		for b.Loop() {
			bytes = running(want) - running(wgnode.State{})
		}
		b.ReportMetric(bytes, "B/peer")
	})
}
