package path

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var web = netip.MustParseAddr("192.0.2.80")

// sink is a path with its ends caught.
type sink struct {
	*Path
	mu      sync.Mutex
	toPeers []string // "10.0.0.2 40": destination and length
	toNet   []string
	events  []wgnode.DataplaneEvent
}

func newSink(t testing.TB) *sink {
	t.Helper()
	s := new(sink)
	p, err := New(Config{
		MTU: 1420, Pool: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd77::/64")},
		ToPeers: func(pkts []*shaping.Packet) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, pkt := range pkts {
				s.toPeers = append(s.toPeers, fmt.Sprint(destination(pkt.Data), " ", len(pkt.Data)))
				pkt.Free()
			}
		},
		ToNet: func(raws [][]byte) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, raw := range raws {
				s.toNet = append(s.toNet, fmt.Sprint(destination(raw), " ", len(raw)))
			}
		},
		Notify: func(e wgnode.DataplaneEvent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	})
	require.NoError(t, err)
	s.Path = p
	p.Start()
	t.Cleanup(p.Close)
	return s
}

// peer is the peer with this key, nil if there is none.
func (s *sink) peer(key wgtypes.Key) *peer {
	found, _ := s.peers.Get(key)
	return found
}

// caught returns what has come out of each end since the last call.
func (s *sink) caught() (toPeers, toNet []string, events []wgnode.DataplaneEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	toPeers, toNet, events = s.toPeers, s.toNet, s.events
	s.toPeers, s.toNet, s.events = nil, nil, nil
	return toPeers, toNet, events
}

func testPeer(n byte) wgnode.PeerState {
	return wgnode.PeerState{PublicKey: wgtypes.Key{n}, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, n})}}
}

// udp builds a UDP packet of n bytes in all.
func udp(src, dst netip.Addr, n int) []byte {
	b := make([]byte, n)
	b[0], b[8], b[9] = 0x45, 64, packet.UDP
	b[2], b[3] = byte(n>>8), byte(n)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	b[20], b[21], b[22], b[23] = 0x20, 1, 0, 53
	b[24], b[25] = byte((n-20)>>8), byte(n-20)
	return b
}

func (s *sink) fromNet(raws ...[]byte) {
	pkts := make([]*shaping.Packet, 0, len(raws))
	for _, raw := range raws {
		pkt := s.NewPacket(len(raw))
		copy(pkt.Data, raw)
		pkts = append(pkts, pkt)
	}
	s.FromNet(pkts)
}

func TestPacketsGoWhereTheyShould(t *testing.T) {
	s := newSink(t)
	one, two := testPeer(2), testPeer(3)
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one, two}}))
	s.FromPeer([][]byte{
		append(make([]byte, 16), udp(one.Addrs[0], web, 100)...),
		append(make([]byte, 16), udp(two.Addrs[0], web, 200)...),
		append(make([]byte, 16), udp(web, one.Addrs[0], 300)...),          // spoofed: no peer has the source
		append(make([]byte, 16), udp(one.Addrs[0], two.Addrs[0], 300)...), // another peer
		append(make([]byte, 16), udp(one.Addrs[0], netip.IPv4Unspecified(), 300)...),
		append(make([]byte, 16), 0x45, 0, 0),
	}, 16)
	s.fromNet(udp(web, one.Addrs[0], 400), udp(web, netip.MustParseAddr("10.0.0.9"), 400), udp(web, two.Addrs[0], 500))
	toPeers, toNet, _ := s.caught()
	require.Equal(t, []string{"192.0.2.80 100", "192.0.2.80 200"}, toNet)
	require.Equal(t, []string{"10.0.0.2 400", "10.0.0.3 500"}, toPeers)
	stats := s.Stats(wgnode.StatsQuery{Peers: []wgtypes.Key{one.PublicKey, two.PublicKey, {99}}})
	require.Len(t, stats.Peers, 2)
	require.Equal(t, quota.Counters{Download: 400, Upload: 100}, stats.Peers[0].Counters)
	require.Equal(t, quota.Counters{Download: 500, Upload: 200}, stats.Peers[1].Counters)
	require.EqualValues(t, 1, stats.Dropped["malformed"])
	require.EqualValues(t, 2, stats.Dropped["no peer"])
	require.EqualValues(t, 1, stats.Dropped[isolation.ReasonPeer.String()])
}

func TestPeerToPeerIsUploadAndDownload(t *testing.T) {
	s := newSink(t)
	one, two := testPeer(2), testPeer(3)
	policy := isolation.Policy{Allow: []isolation.Rule{{
		Name: "one to two", From: isolation.Match{Peers: []string{one.PublicKey.String()}}, To: isolation.Match{Peers: []string{two.PublicKey.String()}},
	}}}
	require.NoError(t, s.Apply(wgnode.Change{Policy: &policy, SetPeers: []wgnode.PeerState{one, two}}))
	s.FromPeer([][]byte{udp(one.Addrs[0], two.Addrs[0], 100)}, 0)
	toPeers, toNet, _ := s.caught()
	require.Equal(t, []string{"10.0.0.3 100"}, toPeers)
	require.Empty(t, toNet)
	stats := s.Stats(wgnode.StatsQuery{Peers: []wgtypes.Key{one.PublicKey, two.PublicKey}})
	require.Equal(t, quota.Counters{Upload: 100}, stats.Peers[0].Counters)
	require.Equal(t, quota.Counters{Download: 100}, stats.Peers[1].Counters)
}

func TestAccountCapHoldsForAllItsPeers(t *testing.T) {
	s := newSink(t)
	one, two := testPeer(2), testPeer(3)
	one.Account, two.Account = "acme", "acme"
	account := wgnode.AccountState{ID: "acme", Budget: quota.Budget{Limited: true, Limit: 1000}}
	require.NoError(t, s.Apply(wgnode.Change{SetAccounts: []wgnode.AccountState{account}, SetPeers: []wgnode.PeerState{one, two}}))
	for range 20 {
		s.FromPeer([][]byte{udp(one.Addrs[0], web, 90)}, 0)
		s.fromNet(udp(web, two.Addrs[0], 60))
	}
	toPeers, toNet, events := s.caught()
	delivered := uint64(90*len(toNet) + 60*len(toPeers))
	stats := s.Stats(wgnode.StatsQuery{All: true})
	require.Len(t, stats.Accounts, 1)
	c := stats.Accounts[0].Counters
	require.Equal(t, delivered, c.Download+c.Upload, "what was counted is what was delivered")
	require.LessOrEqual(t, delivered, uint64(1000))
	require.Greater(t, delivered, uint64(900))
	require.True(t, stats.Accounts[0].Depleted)
	require.Contains(t, events, wgnode.DataplaneEvent{Kind: wgnode.BudgetReached, Account: "acme"})
	var ofPeers uint64
	for _, p := range stats.Peers {
		ofPeers += p.Counters.Download + p.Counters.Upload
	}
	require.Equal(t, delivered, ofPeers, "a packet that the account refuses is counted for nobody")
}

func TestThrottleHoldsFromThePacketThatReachesTheCap(t *testing.T) {
	s := newSink(t)
	one := testPeer(2)
	one.Budget = quota.Budget{Limited: true, Limit: 1000, AtEnd: quota.Throttle}
	one.Throttle = shaping.Limit{Download: 8000, Upload: 8000}
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
	up := func() *shaping.Leaf { return s.leavesOf(s.peer(one.PublicKey)).up }
	require.True(t, up().Unshaped())
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 500), udp(one.Addrs[0], web, 500)}, 0)
	require.False(t, up().Unshaped(), "throttled by the very packet that reaches the cap")
	_, toNet, events := s.caught()
	require.Len(t, toNet, 2)
	require.Len(t, events, 1)

	one.Budget.Limit = 5000
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
	require.True(t, up().Unshaped(), "topped up")
}

func TestPeerDepletedFromTheStart(t *testing.T) {
	s := newSink(t)
	one := testPeer(2)
	one.Budget, one.Counters = quota.Budget{Limited: true, Limit: 1000}, quota.Counters{Download: 1000}
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 100)}, 0)
	_, toNet, events := s.caught()
	require.Empty(t, toNet)
	require.Equal(t, []wgnode.DataplaneEvent{{Kind: wgnode.BudgetReached, Peer: one.PublicKey}}, events)
}

func TestRemovedPeerStopsAtOnce(t *testing.T) {
	s := newSink(t)
	one := testPeer(2)
	one.SpeedLimit = shaping.Limit{Download: 100_000, Upload: 100_000}
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
	for range 50 { // more than the limit lets through at once: the rest waits in the queues
		s.FromPeer([][]byte{udp(one.Addrs[0], web, 1000)}, 0)
		s.fromNet(udp(web, one.Addrs[0], 1000))
	}
	require.NoError(t, s.Apply(wgnode.Change{RemovePeers: []wgtypes.Key{one.PublicKey}}))
	s.caught()
	time.Sleep(300 * time.Millisecond)
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 1000)}, 0)
	toPeers, toNet, _ := s.caught()
	require.Empty(t, toPeers)
	require.Empty(t, toNet)
	require.Empty(t, s.Stats(wgnode.StatsQuery{All: true}).Peers)
}

// TestQueuedPacketsAreJudgedAnew has a packet for another peer wait in the shaper while that peer leaves, and its address
// goes to somebody else: it must reach neither the network nor the newcomer.
func TestQueuedPacketsAreJudgedAnew(t *testing.T) {
	for name, next := range map[string][]wgnode.PeerState{
		"nobody":     nil,
		"a stranger": {{PublicKey: wgtypes.Key{9}, Addrs: testPeer(3).Addrs}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t)
			one, two := testPeer(2), testPeer(3)
			one.SpeedLimit.Upload = 80_000 // 10 kB/s
			policy := isolation.Policy{Allow: []isolation.Rule{{To: isolation.Match{Peers: []string{two.PublicKey.String()}}}}}
			require.NoError(t, s.Apply(wgnode.Change{Policy: &policy, SetPeers: []wgnode.PeerState{one, two}}))
			for range 8 {
				s.FromPeer([][]byte{udp(one.Addrs[0], two.Addrs[0], 1000)}, 0)
			}
			require.NoError(t, s.Apply(wgnode.Change{RemovePeers: []wgtypes.Key{two.PublicKey}, SetPeers: next}))
			s.caught()
			require.NotZero(t, s.leavesOf(s.peer(one.PublicKey)).up.Stats().BacklogPackets, "nothing waited: the test shows nothing")
			require.Eventually(t, func() bool { return s.leavesOf(s.peer(one.PublicKey)).up.Stats().BacklogPackets == 0 },
				10*time.Second, 10*time.Millisecond)
			toPeers, toNet, _ := s.caught()
			require.Empty(t, toNet)
			require.Empty(t, toPeers)
		})
	}
}

func TestAddressesMoveBetweenPeers(t *testing.T) {
	s := newSink(t)
	one, two := testPeer(2), testPeer(3)
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one, two}}))
	one.Addrs, two.Addrs = two.Addrs, one.Addrs
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one, two}}))
	s.fromNet(udp(web, one.Addrs[0], 100))
	stats := s.Stats(wgnode.StatsQuery{Peers: []wgtypes.Key{one.PublicKey}})
	require.EqualValues(t, 100, stats.Peers[0].Counters.Download)
}

func TestBadChangeLeavesNothing(t *testing.T) {
	s := newSink(t)
	one, two := testPeer(2), testPeer(3)
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
	before := s.Want().State()
	two.SpeedLimit.Upload = shaping.MaxRate * 2 // out of range: found only when the leaf is made
	policy := isolation.Policy{Deny: []isolation.Rule{{Name: "all"}}}
	require.Error(t, s.Apply(wgnode.Change{Policy: &policy, SetPeers: []wgnode.PeerState{two}}))
	require.Equal(t, before, s.Want().State())
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 100), udp(two.Addrs[0], web, 100)}, 0)
	_, toNet, _ := s.caught()
	require.Equal(t, []string{"192.0.2.80 100"}, toNet, "the former policy and peer, and not the new ones")
	require.Len(t, s.Stats(wgnode.StatsQuery{All: true}).Peers, 1)
}

func TestHostAddressesAreClosed(t *testing.T) {
	s := newSink(t)
	one := testPeer(2)
	require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 100)}, 0)
	require.NoError(t, s.SetHost([]netip.Addr{web}))
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 200)}, 0)
	_, toNet, _ := s.caught()
	require.Equal(t, []string{"192.0.2.80 100"}, toNet)
}
