package path

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/heap"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// registered are peers that have never moved a packet, each with an address of either family.
func registered(n int, edit func(*wgnode.PeerState)) []wgnode.PeerState {
	states := make([]wgnode.PeerState, n)
	for i := range states {
		addr := [16]byte{0: 0xfd, 1: 0x77}
		binary.BigEndian.PutUint32(addr[12:], 10<<24|uint32(i+2))
		key := wgtypes.Key{31: 1}
		// As those of real keys, the bytes of which a map makes its hash are not in order.
		binary.BigEndian.PutUint64(key[:], uint64(i+1)*0x9e3779b97f4a7c15)
		states[i] = wgnode.PeerState{PublicKey: key, Addrs: []netip.Addr{netip.AddrFrom4([4]byte(addr[12:])), netip.AddrFrom16(addr)}}
		if edit != nil {
			edit(&states[i])
		}
	}
	return states
}

func capped(s *wgnode.PeerState) {
	s.SpeedLimit = shaping.Limit{Download: 20e6, Upload: 5e6}
	s.Budget = quota.Budget{Limited: true, Limit: 1 << 40}
}

// registeredPath is a path with peers, in changes as large as a node makes them, or whole.
func registeredPath(tb testing.TB, states []wgnode.PeerState) *Path {
	p, err := New(Config{
		MTU: 1420, Pool: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd77::/64")},
		ToPeers: func([]*shaping.Packet) {}, ToNet: func([][]byte) {}, Notify: func(wgnode.DataplaneEvent) {},
	})
	require.NoError(tb, err)
	require.NoError(tb, p.Apply(wgnode.Change{SetPeers: states}))
	return p
}

// BenchmarkRegisteredMemory is what the path keeps for a peer that has never moved a packet, without the state that it was given.
func BenchmarkRegisteredMemory(b *testing.B) {
	for _, peers := range []int{10_000, 100_000} {
		for _, v := range []struct {
			name string
			edit func(*wgnode.PeerState)
		}{{"bare", nil}, {"capped", capped}} {
			b.Run(fmt.Sprintf("peers=%d/%s", peers, v.name), func(b *testing.B) {
				states := registered(peers, v.edit)
				heap.Report(b, peers, func() any { return registeredPath(b, states) })
			})
		}
	}
}

// TestRegisteredPeerMemory holds what a peer costs that has never moved a packet, also after it moved some and was at rest since.
func TestRegisteredPeerMemory(t *testing.T) {
	const peers, bound = 20_000, 720 // bytes each
	states := registered(peers, capped)
	var p *Path
	fresh := heap.PerItem(peers, func() any {
		p = registeredPath(t, states)
		return p
	})
	require.Less(t, fresh, heap.Room*bound)
	p.Close()

	p = registeredPath(t, states)
	p.Start()
	defer p.Close()
	used := heap.PerItem(peers, func() any {
		for _, s := range states {
			p.FromPeer([][]byte{udp(s.Addrs[0], web, 100)}, 0)
		}
		require.Len(t, p.shaped.all, peers)
		require.Eventually(t, func() bool {
			p.Sweep()
			return len(p.shaped.all) == 0
		}, 10*time.Second, time.Millisecond)
		return p
	})
	require.Less(t, used, 100.0, "what is left of leaves")
}
