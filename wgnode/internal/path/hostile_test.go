package path

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// FuzzFromPeer sends anything at all: nothing panics, and what comes out is a sound packet from the peer's own address to
// one that the policy leaves open.
func FuzzFromPeer(f *testing.F) {
	one, two := testPeer(2), testPeer(3)
	f.Add(udp(one.Addrs[0], web, 100))
	f.Add(udp(one.Addrs[0], two.Addrs[0], 100))
	f.Add([]byte{0x60, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		out := 0
		p, err := New(Config{
			MTU: 1420, Pool: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			ToPeers: func(pkts []*shaping.Packet) { t.Errorf("%d packets reached another peer", len(pkts)) },
			ToNet: func(raws [][]byte) {
				for _, raw := range raws {
					var info packet.Info
					require.NoError(t, info.Parse(raw))
					require.Equal(t, one.Addrs[0], info.Src)
					require.False(t, info.Dst.IsPrivate() || info.Dst.IsLoopback() || info.Dst.IsMulticast() || info.Dst.IsLinkLocalUnicast(), "%s", info.Dst)
					out++
				}
			},
			Notify: func(wgnode.DataplaneEvent) {},
		})
		require.NoError(t, err)
		p.Start()
		defer p.Close()
		require.NoError(t, p.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one, two}}))
		p.FromPeer([][]byte{raw}, 0)
		dropped := uint64(0)
		for _, n := range p.Stats(wgnode.StatsQuery{}).Dropped {
			dropped += n
		}
		require.EqualValues(t, 1, uint64(out)+dropped, "a packet passes or is counted")
	})
}

// FuzzFromNet does the same for the other direction.
func FuzzFromNet(f *testing.F) {
	one := testPeer(2)
	f.Add(udp(web, one.Addrs[0], 100))
	f.Add([]byte{0x45})
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := New(Config{
			MTU: 1420,
			ToPeers: func(pkts []*shaping.Packet) {
				for _, pkt := range pkts {
					require.Equal(t, one.Addrs[0], destination(pkt.Data))
					pkt.Free()
				}
			},
			ToNet:  func([][]byte) { t.Error("a packet came back") },
			Notify: func(wgnode.DataplaneEvent) {},
		})
		require.NoError(t, err)
		p.Start()
		defer p.Close()
		require.NoError(t, p.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
		pkt := p.NewPacket(len(raw))
		copy(pkt.Data, raw)
		p.FromNet([]*shaping.Packet{pkt})
	})
}
