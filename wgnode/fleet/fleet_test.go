package fleet_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/fleet"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience, tick = 20 * time.Second, 10 * time.Millisecond

// unsteady is a registry that can be away.
type unsteady struct {
	registry.Registry
	away atomic.Bool
	// lose has the answers to usage reports be lost that were taken.
	lose atomic.Bool
}

func (u *unsteady) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	if u.away.Load() {
		return registry.Answer{}, registry.ErrUnavailable
	}
	return u.Registry.Heartbeat(ctx, h)
}

func (u *unsteady) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	if u.away.Load() {
		return registry.Registered{}, registry.ErrUnavailable
	}
	return u.Registry.Register(ctx, r)
}

func (u *unsteady) ReportUsage(ctx context.Context, r registry.UsageReport) (registry.UsageReceipt, error) {
	if u.away.Load() {
		return registry.UsageReceipt{}, registry.ErrUnavailable
	}
	receipt, err := u.Registry.ReportUsage(ctx, r)
	if u.lose.Load() {
		return registry.UsageReceipt{}, registry.ErrUnavailable
	}
	return receipt, err
}

// host is where a node runs, again and again.
type host struct {
	dir   string
	fleet *memory.Fleet
	way   *unsteady

	dataplane *wgnodetest.Dataplane
	node      *wgnode.Node
	member    *fleet.Fleet
	stop      func()
	drained   atomic.Bool
}

func newHost(t *testing.T) *host {
	t.Helper()
	f, err := memory.New(memory.Config{Interval: time.Second})
	require.NoError(t, err)
	h := &host{dir: t.TempDir(), fleet: f, way: &unsteady{Registry: f}}
	h.start(t)
	t.Cleanup(func() { h.end(t) })
	return h
}

// start makes a node on what the one before has left, and has it join.
func (h *host) start(t *testing.T) {
	t.Helper()
	fence, err := fleet.OpenFence(fleet.FenceConfig{File: filepath.Join(h.dir, "released.json")})
	require.NoError(t, err)
	store, err := boltstore.Open(filepath.Join(h.dir, "state.db"), boltstore.Options{})
	require.NoError(t, err)
	log, err := usagelog.Open(filepath.Join(h.dir, "usage"), usagelog.Options{NoSync: true})
	require.NoError(t, err)
	h.dataplane = wgnodetest.NewDataplane()
	h.node, err = wgnode.New(wgnode.Config{
		Dataplane: h.dataplane, Store: store, UsageLog: log, UsageLogPeriod: time.Minute, Admit: fence.Admit,
	})
	require.NoError(t, err)
	require.NoError(t, h.node.Start(t.Context()))
	h.member, err = fleet.New(fleet.Config{
		Node: h.node, Fence: fence, Registry: h.way, StateFile: filepath.Join(h.dir, "member.json"),
		Interval: time.Second, UsagePeriod: time.Second,
		Registration: registry.Registration{
			Name: "fra-1", EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443",
		},
		Load:       func() registry.Load { return registry.Load{Score: 0.25} },
		OnDraining: func(_ context.Context, draining bool) error { h.drained.Store(draining); return nil },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- h.member.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (h *host) end(t *testing.T) {
	t.Helper()
	h.stop()
	require.NoError(t, h.node.Close())
}

func (h *host) server(t *testing.T) registry.Server {
	t.Helper()
	list, err := h.fleet.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// joined waits until the fleet knows the node as it is now.
func (h *host) joined(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return h.member.State().Heartbeats > 0 && h.member.State().Failures == 0 }, patience, tick)
}

func specOf(s registry.Session) wgnode.PeerSpec {
	return wgnode.PeerSpec{PublicKey: wgtypes.Key(s.PublicKey), Labels: map[string]string{
		registry.SessionLabel: string(s.ID), registry.GenerationLabel: strconv.FormatInt(s.Generation, 10),
	}}
}

// session begins a session on the one node, which gets the peer.
func (h *host) session(t *testing.T, key string) (registry.Session, wgnode.AddedPeer) {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	s, err := h.fleet.Begin(t.Context(), registry.NewSession{User: "u", IdempotencyKey: key, PublicKey: registry.Key(private.PublicKey())})
	require.NoError(t, err)
	p, err := h.node.AddPeer(t.Context(), specOf(s))
	require.NoError(t, err)
	s, err = h.fleet.Confirm(t.Context(), s.ID, s.Generation, p.Addrs)
	require.NoError(t, err)
	return s, p
}

func (h *host) has(key registry.Key) bool {
	_, err := h.node.Peer(wgtypes.Key(key))
	return err == nil
}

// TestLifeInAFleet registers, is given a session, loses it, refuses it when it comes late, and is the same after a restart.
func TestLifeInAFleet(t *testing.T) {
	h := newHost(t)
	h.joined(t)
	other, err := h.node.AddPeer(t.Context(), wgnode.PeerSpec{})
	require.NoError(t, err)
	s, _ := h.session(t, "one")
	require.Eventually(t, func() bool { return h.server(t).Peers == 2 }, patience, tick)
	server := h.server(t)
	status, err := h.node.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, registry.Key(status.PublicKey), server.PublicKey)
	require.InDelta(t, 0.25, server.Load.Score, 0)
	require.Contains(t, server.Features, "ipv6")

	_, err = h.fleet.End(t.Context(), s.ID, "over")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !h.has(s.PublicKey) }, patience, tick)
	require.True(t, h.has(registry.Key(other.PublicKey)), "what is no session's stays")
	for range 2 {
		_, err = h.node.AddPeer(t.Context(), specOf(s))
		require.ErrorIs(t, err, fleet.ErrReleased)
		require.ErrorIs(t, err, wgnode.ErrNotAdmitted)
		h.end(t)
		h.start(t)
		h.joined(t)
	}
	require.Equal(t, server.ID, h.server(t).ID)
	later := s
	later.Generation++
	_, err = h.node.AddPeer(t.Context(), specOf(later))
	require.NoError(t, err, "a later generation is another matter")
}

// TestOutageChangesNothing has the registry be away for a while, and over a restart.
func TestOutageChangesNothing(t *testing.T) {
	h := newHost(t)
	h.joined(t)
	s, _ := h.session(t, "one")
	h.way.away.Store(true)
	require.Eventually(t, func() bool { return h.member.State().Failures > 1 }, patience, tick)
	require.True(t, h.has(s.PublicKey))
	_, err := h.fleet.End(t.Context(), s.ID, "over")
	require.NoError(t, err)
	h.end(t)
	h.start(t)
	require.Eventually(t, func() bool { return h.member.State().Failures > 1 }, patience, tick)
	require.True(t, h.has(s.PublicKey), "only a release removes a peer")
	h.way.away.Store(false)
	require.Eventually(t, func() bool { return !h.has(s.PublicKey) }, patience, tick)
}

// TestDrainingBothWays has the node want it, and the fleet.
func TestDrainingBothWays(t *testing.T) {
	h := newHost(t)
	h.joined(t)
	h.member.SetDraining(true)
	require.Eventually(t, func() bool { return h.server(t).Draining }, patience, tick)
	h.member.SetDraining(false)
	require.Eventually(t, func() bool { return !h.server(t).Draining }, patience, tick)
	require.NoError(t, h.fleet.SetDraining(t.Context(), h.server(t).ID, true))
	require.Eventually(t, h.drained.Load, patience, tick)
	require.NoError(t, h.fleet.SetDraining(t.Context(), h.server(t).ID, false))
	require.Eventually(t, func() bool { return !h.drained.Load() }, patience, tick)
}

// TestUsageIsReportedOnce has peers use something, answers be lost, and the node be started again.
func TestUsageIsReportedOnce(t *testing.T) {
	h := newHost(t)
	h.joined(t)
	s, p := h.session(t, "one")
	var sent int64
	send := func(packets int) {
		from, to := netip.AddrPortFrom(p.Addrs[0], 5000), netip.MustParseAddrPort("198.51.100.1:53")
		for range packets {
			packet := wgnodetest.UDPPacket(from, to, []byte("hello"))
			h.dataplane.Peer(p.PublicKey).Send(packet)
			sent += int64(len(packet))
		}
	}
	reported := func() int64 {
		now, err := h.fleet.Session(t.Context(), s.ID)
		require.NoError(t, err)
		return now.Upload
	}
	for i := range 3 {
		send(10 + i)
		h.way.lose.Store(true)
		h.end(t) // writes all counters to the log
		h.start(t)
		require.Eventually(t, func() bool { return reported() == sent }, patience, tick, "taken, and the answer lost")
		h.end(t)
		h.way.lose.Store(false)
		h.start(t)
		h.joined(t)
		require.Eventually(t, func() bool { return !h.member.State().PendingUsage && h.member.State().UsageSequence > 0 }, patience, tick)
		require.Equal(t, sent, reported())
	}
	require.Empty(t, h.fleet.Unmatched())
	require.Zero(t, h.member.State().LostUsage)
}
