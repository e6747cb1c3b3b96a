package path

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

const batch = 32

// newQuietPath is a path with peers whose packets go nowhere.
func newQuietPath(tb testing.TB, peers int, limit shaping.Limit) (*Path, []wgnode.PeerState) {
	tb.Helper()
	p, err := New(Config{
		MTU: 1420, Pool: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		ToPeers: func(pkts []*shaping.Packet) {
			for _, pkt := range pkts {
				pkt.Free()
			}
		},
		ToNet:  func([][]byte) {},
		Notify: func(wgnode.DataplaneEvent) {},
	})
	require.NoError(tb, err)
	p.Start()
	tb.Cleanup(p.Close)
	states := make([]wgnode.PeerState, peers)
	for i := range states {
		states[i] = wgnode.PeerState{
			PublicKey:  wgtypes.Key{byte(i), byte(i >> 8), 1},
			Addrs:      []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})},
			SpeedLimit: limit, Budget: quota.Budget{Limited: true, Limit: 1 << 60},
		}
	}
	require.NoError(tb, p.Apply(wgnode.Change{SetPeers: states}))
	return p, states
}

var variants = []struct {
	name  string
	limit shaping.Limit
}{{"unlimited", shaping.Limit{}}, {"shaped", shaping.Limit{Download: 1e12, Upload: 1e12}}}

// TestPathAllocatesNothing holds the promise of the package's documentation in steady state, through isolation, shaping
// with tokens to spare, and metering.
func TestPathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, v := range variants {
		p, states := newQuietPath(t, 10, v.limit)
		up := packets(states, func(s wgnode.PeerState) []byte { return udp(s.Addrs[0], web, 1400) })
		require.Zero(t, testing.AllocsPerRun(200, func() { p.FromPeer(up, 0) }), "upload, %s", v.name)
		down := make([]*shaping.Packet, batch)
		template := udp(web, states[0].Addrs[0], 1400)
		require.Zero(t, testing.AllocsPerRun(200, func() { fromNet(p, down, template) }), "download, %s", v.name)
	}
}

func packets(states []wgnode.PeerState, build func(wgnode.PeerState) []byte) [][]byte {
	raws := make([][]byte, batch)
	for i := range raws {
		raws[i] = build(states[0])
	}
	return raws
}

func fromNet(p *Path, pkts []*shaping.Packet, template []byte) {
	for i := range pkts {
		pkts[i] = p.NewPacket(len(template))
		copy(pkts[i].Data, template)
		pkts[i].Flow = 1
	}
	p.FromNet(pkts)
}

// BenchmarkFromPeer is the cost of one uploaded packet, in batches of 32 as the device hands them over.
func BenchmarkFromPeer(b *testing.B) {
	for _, peers := range []int{10, 1_000, 10_000} {
		for _, v := range variants {
			b.Run(fmt.Sprintf("peers=%d/%s", peers, v.name), func(b *testing.B) {
				p, states := newQuietPath(b, peers, v.limit)
				all := make([][][]byte, min(peers, 256))
				for i := range all {
					all[i] = packets(states[i*peers/len(all):], func(s wgnode.PeerState) []byte { return udp(s.Addrs[0], web, 1400) })
				}
				b.SetBytes(1400 * batch)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p.FromPeer(all[i%len(all)], 0)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/packet")
			})
		}
	}
}

// BenchmarkFromNet is the same for download.
func BenchmarkFromNet(b *testing.B) {
	for _, peers := range []int{10, 1_000, 10_000} {
		for _, v := range variants {
			b.Run(fmt.Sprintf("peers=%d/%s", peers, v.name), func(b *testing.B) {
				p, states := newQuietPath(b, peers, v.limit)
				pkts, templates := make([]*shaping.Packet, batch), make([][]byte, min(peers, 256))
				for i := range templates {
					templates[i] = udp(web, states[i*peers/len(templates)].Addrs[0], 1400)
				}
				b.SetBytes(1400 * batch)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					fromNet(p, pkts, templates[i%len(templates)])
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/packet")
			})
		}
	}
}

// BenchmarkApply is the cost of setting a peer's speed limit, and of adding and removing a peer, beside others.
func BenchmarkApply(b *testing.B) {
	for _, peers := range []int{10, 1_000, 10_000} {
		p, states := newQuietPath(b, peers, shaping.Limit{Download: 1e9, Upload: 1e9})
		b.Run(fmt.Sprintf("peers=%d/limit", peers), func(b *testing.B) {
			s := states[0]
			for i := 0; b.Loop(); i++ {
				s.SpeedLimit.Download = shaping.Rate(1e9 + i)
				if err := p.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{s}}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("peers=%d/add and remove", peers), func(b *testing.B) {
			s := wgnode.PeerState{PublicKey: wgtypes.Key{31: 9}, Addrs: []netip.Addr{netip.MustParseAddr("10.200.0.1")}}
			for b.Loop() {
				if err := p.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{s}}); err != nil {
					b.Fatal(err)
				}
				if err := p.Apply(wgnode.Change{RemovePeers: []wgtypes.Key{s.PublicKey}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
