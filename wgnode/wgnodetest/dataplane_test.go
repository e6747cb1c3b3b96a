package wgnodetest_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

var web = netip.MustParseAddrPort("192.0.2.1:443")

// start returns a node on a fake, with its events from the first one on.
func start(t *testing.T, edits ...func(*wgnode.Config)) (*wgnode.Node, *wgnodetest.Dataplane, *wgnode.Subscription) {
	t.Helper()
	dp := wgnodetest.NewDataplane()
	cfg := wgnode.Config{Dataplane: dp}
	for _, edit := range edits {
		edit(&cfg)
	}
	node, err := wgnode.New(cfg)
	require.NoError(t, err)
	events := node.Subscribe()
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	return node, dp, events
}

func addPeer(t *testing.T, node *wgnode.Node, spec wgnode.PeerSpec) wgnode.AddedPeer {
	t.Helper()
	peer, err := node.AddPeer(t.Context(), spec)
	require.NoError(t, err)
	return peer
}

// upload is a packet of a length from a peer.
func upload(peer wgnode.AddedPeer, length int) []byte {
	payload := make([]byte, length-packet.IPv4HeaderLen-packet.UDPHeaderLen)
	return wgnodetest.UDPPacket(netip.AddrPortFrom(peer.Addrs[0], 5000), web, payload)
}

// download is a packet of a length for a peer.
func download(peer wgnode.AddedPeer, length int) []byte {
	payload := make([]byte, length-packet.IPv4HeaderLen-packet.UDPHeaderLen)
	return wgnodetest.UDPPacket(web, netip.AddrPortFrom(peer.Addrs[0], 5000), payload)
}

func TestPacketsMoveBothWays(t *testing.T) {
	node, dp, _ := start(t)
	peer := addPeer(t, node, wgnode.PeerSpec{})
	out, in := upload(peer, 100), download(peer, 200)
	dp.Peer(peer.PublicKey).Send(out)
	got, err := dp.Internet().Receive(t.Context())
	require.NoError(t, err)
	require.Equal(t, out, got)
	dp.Internet().Send(in)
	got, err = dp.Peer(peer.PublicKey).Receive(t.Context())
	require.NoError(t, err)
	require.Equal(t, in, got)

	usage, err := node.Usage(t.Context(), wgnode.OfPeer(peer.PublicKey))
	require.NoError(t, err)
	require.Equal(t, quota.Counters{Download: 200, Upload: 100}, usage.Counters)
}

func TestPeerSendsFromItsOwnAddressesOnly(t *testing.T) {
	node, dp, _ := start(t)
	peer, victim := addPeer(t, node, wgnode.PeerSpec{}), addPeer(t, node, wgnode.PeerSpec{})
	dp.Peer(peer.PublicKey).Send(upload(victim, 100))
	require.Zero(t, dp.Internet().Pending())
	status, err := node.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{"spoofed": 1}, status.Dropped)
}

func TestFailNext(t *testing.T) {
	node, dp, _ := start(t)
	dp.FailNext(wgnodetest.OpApply, wgnodetest.ErrInjected)
	_, err := node.AddPeer(t.Context(), wgnode.PeerSpec{})
	require.ErrorIs(t, err, wgnodetest.ErrInjected)
	require.Empty(t, dp.State().Peers)
	require.Empty(t, dp.Changes())

	peer := addPeer(t, node, wgnode.PeerSpec{})
	require.Len(t, dp.State().Peers, 1)
	require.Len(t, dp.Changes(), 1)
	for _, op := range []wgnodetest.Op{wgnodetest.OpStats, wgnodetest.OpStats} {
		dp.FailNext(op, wgnodetest.ErrInjected)
	}
	for range 2 {
		_, err = node.Usage(t.Context(), wgnode.OfPeer(peer.PublicKey))
		require.ErrorIs(t, err, wgnodetest.ErrInjected)
	}
	_, err = node.Usage(t.Context(), wgnode.OfPeer(peer.PublicKey))
	require.NoError(t, err)
	dp.FailNext(wgnodetest.OpSync, wgnodetest.ErrInjected)
	_, err = node.Sync(t.Context())
	require.ErrorIs(t, err, wgnodetest.ErrInjected)
}

func TestStartMayBeTriedAgain(t *testing.T) {
	dp := wgnodetest.NewDataplane()
	node, err := wgnode.New(wgnode.Config{Dataplane: dp, ListenPort: 4242})
	require.NoError(t, err)
	dp.FailNext(wgnodetest.OpStart, wgnodetest.ErrInjected)
	dp.FailNext(wgnodetest.OpClose, wgnodetest.ErrInjected)
	require.ErrorIs(t, node.Start(t.Context()), wgnodetest.ErrInjected)
	require.NoError(t, node.Start(t.Context()))
	require.Equal(t, uint16(4242), dp.Config().ListenPort)
	require.ErrorIs(t, node.Close(), wgnodetest.ErrInjected)
	require.ErrorIs(t, dp.Apply(t.Context(), wgnode.Change{}), wgnode.ErrClosed)
}

func TestIntercept(t *testing.T) {
	node, dp, _ := start(t)
	began := make(chan struct{})
	dp.Intercept(func(ctx context.Context, op wgnodetest.Op) error {
		if op != wgnodetest.OpApply {
			return nil
		}
		close(began)
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := node.AddPeer(ctx, wgnode.PeerSpec{})
	require.ErrorIs(t, err, context.Canceled)
	dp.Intercept(nil)
	addPeer(t, node, wgnode.PeerSpec{})
}

func TestFail(t *testing.T) {
	dp := wgnodetest.NewDataplane()
	node, err := wgnode.New(wgnode.Config{Dataplane: dp})
	require.NoError(t, err)
	require.NoError(t, node.Start(t.Context()))
	peer := addPeer(t, node, wgnode.PeerSpec{})
	dp.Fail(wgnodetest.ErrInjected)
	require.ErrorIs(t, node.Wait(), wgnodetest.ErrInjected)
	dp.Peer(peer.PublicKey).Send(upload(peer, 100))
	require.Zero(t, dp.Internet().Pending())
}

func TestDisturb(t *testing.T) {
	node, dp, events := start(t)
	peer := addPeer(t, node, wgnode.PeerSpec{})
	require.NoError(t, dp.Disturb(wgnode.Change{RemovePeers: []wgtypes.Key{peer.PublicKey}}))
	for e := range events.All(t.Context()) {
		if e.Kind == wgnode.Repaired {
			require.Equal(t, peer.PublicKey, e.Peer)
			break
		}
	}
	require.Len(t, dp.State().Peers, 1)
	require.ErrorIs(t, wgnodetest.NewDataplane().Disturb(wgnode.Change{}), wgnode.ErrNotStarted)
}

// TestKeyOverlap has a node tell who of its peers knows its former key.
func TestKeyOverlap(t *testing.T) {
	node, dp, _ := start(t)
	peer, other := addPeer(t, node, wgnode.PeerSpec{}).PublicKey, addPeer(t, node, wgnode.PeerSpec{}).PublicKey
	former := func(key wgtypes.Key) (knows, connected bool) {
		t.Helper()
		stats, err := node.PeerStats(t.Context(), key)
		require.NoError(t, err)
		return stats.FormerKey, !stats.LastHandshake.IsZero()
	}
	shake := func(key wgtypes.Key) { dp.SetHandshake(key, time.Now(), netip.MustParseAddrPort("198.51.100.7:40000")) }
	is := func(key wgtypes.Key, wantKnows, wantConnected bool) {
		t.Helper()
		knows, connected := former(key)
		require.Equal(t, []bool{wantKnows, wantConnected}, []bool{knows, connected})
	}
	shake(peer)
	first := dp.Config().PrivateKey
	rotated, err := node.RotateKey(t.Context(), wgnode.KeyRotation{Overlap: time.Hour})
	require.NoError(t, err)
	require.Equal(t, first, dp.Config().FormerKey)
	require.Equal(t, rotated.PublicKey, dp.Config().PrivateKey.PublicKey())
	is(peer, true, true)
	is(other, false, false)
	shake(other)
	is(other, false, true)
	require.NoError(t, node.EndKeyOverlap(t.Context()))
	require.Zero(t, dp.Config().FormerKey)
	is(peer, false, false)
	is(other, false, true)
	_, err = node.RotateKey(t.Context(), wgnode.KeyRotation{})
	require.NoError(t, err)
	is(other, false, false)
}

func TestSetHandshake(t *testing.T) {
	node, dp, _ := start(t)
	peer := addPeer(t, node, wgnode.PeerSpec{})
	at, endpoint := time.Unix(1e9, 0), netip.MustParseAddrPort("198.51.100.7:40000")
	dp.SetHandshake(peer.PublicKey, at, endpoint)
	stats, err := node.PeerStats(t.Context(), peer.PublicKey)
	require.NoError(t, err)
	require.Equal(t, at, stats.LastHandshake)
	require.Equal(t, endpoint, stats.Endpoint)
}

func TestPortLosesWhatNobodyReads(t *testing.T) {
	node, dp, _ := start(t)
	peer := addPeer(t, node, wgnode.PeerSpec{})
	port := dp.Peer(peer.PublicKey)
	for range wgnodetest.PortBuffer + 5 {
		port.Send(upload(peer, 100))
	}
	require.Equal(t, wgnodetest.PortBuffer, dp.Internet().Pending())
	require.Equal(t, uint64(5), dp.Internet().Lost())
	_, err := port.Receive(expired())
	require.ErrorIs(t, err, errExpired)
}

var errExpired = errors.New("expired")

func expired() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errExpired)
	return ctx
}

// A limit and the period of a cap pass in no time in a bubble.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, dp, _ := start(t)
		const length = 1000
		peer := addPeer(t, node, wgnode.PeerSpec{
			SpeedLimit: shaping.Limit{Upload: 80_000}, // ten packets in a second
			DataCap:    quota.Cap{Bytes: 50 * length, Period: quota.Period{Kind: quota.Daily}},
		})
		port := dp.Peer(peer.PublicKey)
		send := func() {
			port.Send(upload(peer, length))
			time.Sleep(100 * time.Millisecond)
		}
		for range 60 {
			send()
		}
		time.Sleep(10 * time.Second)
		require.Equal(t, 50, dp.Internet().Pending())
		time.Sleep(25 * time.Hour)
		for range 10 {
			send()
		}
		time.Sleep(10 * time.Second)
		require.Equal(t, 60, dp.Internet().Pending())
	})
}

func TestUDPPacketIsWhole(t *testing.T) {
	for _, pair := range [][2]string{{"10.0.0.2:1", "192.0.2.1:65535"}, {"[fd00::2]:1", "[2001:db8::1]:65535"}} {
		src, dst := netip.MustParseAddrPort(pair[0]), netip.MustParseAddrPort(pair[1])
		for n := range 64 {
			var info packet.Info
			b := wgnodetest.UDPPacket(src, dst, make([]byte, n))
			require.NoError(t, info.Parse(b))
			require.Equal(t, [2]netip.AddrPort{src, dst},
				[2]netip.AddrPort{netip.AddrPortFrom(info.Src, info.SrcPort), netip.AddrPortFrom(info.Dst, info.DstPort)})
			require.Equal(t, len(b), info.Length)
		}
	}
}
