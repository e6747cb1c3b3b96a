package conformance

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// Where the world's servers are: addresses for documentation (RFC 5737, RFC 3849), which a default policy leaves open.
var (
	internet4 = netip.MustParseAddr("192.0.2.10")
	other4    = netip.MustParseAddr("198.51.100.20")
	internet6 = netip.MustParseAddr("2001:db8::10")
)

// patience bounds the wait for what must come. It is long, as the machine may be busy; nothing waits for it to pass.
const patience = 30 * time.Second

// world is one rig with a node on its dataplane.
type world struct {
	t     *testing.T
	ctx   context.Context
	rig   Rig
	dp    wgnode.Dataplane
	node  *wgnode.Node
	store wgnode.Store
	ports atomic.Uint32
	// traits are the harness's.
	traits Traits
}

// newBareWorld makes a world that has no node yet.
func newBareWorld(t *testing.T, h Harness) *world {
	t.Helper()
	rig := h.Rig(t)
	t.Cleanup(func() { require.NoError(t, rig.Close()) })
	w := &world{t: t, ctx: t.Context(), rig: rig, store: wgnode.NewMemoryStore(), traits: h.Traits}
	w.ports.Store(1000)
	return w
}

// newWorld makes a world with a node that runs. An edit changes the node's configuration before that.
func newWorld(t *testing.T, h Harness, edits ...func(*wgnode.Config)) *world {
	t.Helper()
	w := newBareWorld(t, h)
	w.startNode(edits...)
	return w
}

// dataplane returns the rig's next dataplane, which is closed with the test.
func (w *world) dataplane() wgnode.Dataplane {
	w.t.Helper()
	dp, err := w.rig.Dataplane()
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, dp.Close()) })
	return dp
}

func (w *world) config(edits ...func(*wgnode.Config)) wgnode.Config {
	pool := ipam.DefaultConfig()
	pool.Quarantine = time.Nanosecond // a test may want an address back at once
	cfg := wgnode.Config{Endpoint: "127.0.0.1", Dataplane: w.dp, Store: w.store, Pool: pool}
	for _, edit := range edits {
		edit(&cfg)
	}
	return cfg
}

// startNode starts a node on the rig's next dataplane, with what the world's store remembers.
func (w *world) startNode(edits ...func(*wgnode.Config)) {
	w.t.Helper()
	w.dp = w.dataplane()
	node, err := wgnode.New(w.config(edits...))
	require.NoError(w.t, err)
	require.NoError(w.t, node.Start(w.ctx))
	w.t.Cleanup(func() { require.NoError(w.t, node.Close()) })
	w.node = node
}

// join adds a peer and connects its device. Every other peer has a preshared key.
func (w *world) join(spec wgnode.PeerSpec) *client {
	w.t.Helper()
	if w.ports.Add(1)%2 == 0 {
		psk, err := wgtypes.GenerateKey()
		require.NoError(w.t, err)
		spec.PresharedKey = psk
	}
	added, err := w.node.AddPeer(w.ctx, spec)
	require.NoError(w.t, err)
	cfg, err := w.node.ClientConfig(added.PublicKey, added.PrivateKey)
	require.NoError(w.t, err)
	return connect(w, cfg)
}

// key is the public key of a client.
func (c *client) key() wgtypes.Key { return c.cfg.PrivateKey.PublicKey() }

// subject names the client to the node.
func (c *client) subject() wgnode.Subject { return wgnode.OfPeer(c.key()) }

// at is an address of the world with a port that nothing else uses.
func (w *world) at(addr netip.Addr) netip.AddrPort {
	return netip.AddrPortFrom(addr, uint16(w.ports.Add(1)))
}

// counters reads what the dataplane has counted for a client.
func (w *world) counters(c *client) quota.Counters {
	w.t.Helper()
	return w.peerStats(c.key()).Counters
}

func (w *world) peerStats(key wgtypes.Key) wgnode.PeerStats {
	w.t.Helper()
	stats, err := w.dp.Stats(w.ctx, wgnode.StatsQuery{Peers: []wgtypes.Key{key}})
	require.NoError(w.t, err)
	require.Len(w.t, stats.Peers, 1)
	require.Equal(w.t, key, stats.Peers[0].PublicKey)
	return stats.Peers[0]
}

func (w *world) accountStats(id string) wgnode.AccountStats {
	w.t.Helper()
	stats, err := w.dp.Stats(w.ctx, wgnode.StatsQuery{Accounts: []string{id}})
	require.NoError(w.t, err)
	require.Len(w.t, stats.Accounts, 1)
	require.Equal(w.t, id, stats.Accounts[0].ID)
	return stats.Accounts[0]
}

// dropped is the number of packets that the dataplane did not let pass, for whatever reason.
func (w *world) dropped() uint64 {
	w.t.Helper()
	stats, err := w.dp.Stats(w.ctx, wgnode.StatsQuery{})
	require.NoError(w.t, err)
	var sum uint64
	for n := range maps.Values(stats.Dropped) {
		sum += n
	}
	return sum
}

// eventually waits for what must become true.
func (w *world) eventually(condition func() bool, format string, args ...any) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNowf(w.t, "did not happen", format, args...)
		}
	}
}

// inFlight is how long a packet may still be under way that had passed when its peer was removed.
const inFlight = 200 * time.Millisecond

// comesToRest waits until a number does not change any more, and returns it. What had passed may be under way for long in a slow
// machine; but TCP that is open is never still.
func (w *world) comesToRest(read func() uint64, format string, args ...any) uint64 {
	w.t.Helper()
	last, since := read(), time.Now()
	w.eventually(func() bool {
		if now := read(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 2*inFlight
	}, format, args...)
	return last
}

// mbit is a rate of n Mbit/s.
func mbit(n float64) shaping.Rate { return shaping.Rate(n * 1e6) }

// both is a limit that is the same both ways.
func both(r shaping.Rate) shaping.Limit { return shaping.Limit{Download: r, Upload: r} }

// setLimit changes a speed limit through the node.
func (w *world) setLimit(s wgnode.Subject, limit shaping.Limit) {
	w.t.Helper()
	require.NoError(w.t, w.node.SetSpeedLimit(w.ctx, s, limit))
}

// repaired lists the subjects of repairs, in order.
func repaired(repairs []wgnode.Repair) []string {
	var subjects []string
	for _, r := range repairs {
		subjects = append(subjects, r.Subject)
	}
	slices.Sort(subjects)
	return subjects
}

func (w *world) putAccount(spec wgnode.AccountSpec) {
	w.t.Helper()
	_, err := w.node.PutAccount(w.ctx, spec)
	require.NoError(w.t, err)
}
