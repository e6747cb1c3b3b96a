package conformance

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// direct is a dataplane that the suite drives itself, in place of a node.
type direct struct {
	*world
	cfg wgnode.DataplaneConfig

	mu     sync.Mutex
	events []wgnode.DataplaneEvent // guarded by mu
}

// clientKeepalive makes a device shake hands as soon as it is up.
const clientKeepalive = 25 * time.Second

// newDirect makes a world whose dataplane waits to be started.
func newDirect(w *world) *direct {
	w.t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(w.t, err)
	d := &direct{world: w}
	addresses := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("fd77:6179:6c75:6d65::1/64")}
	d.cfg = wgnode.DataplaneConfig{
		PrivateKey: key, ListenPort: freePort(w), MTU: wgnode.DefaultMTU, Addresses: addresses,
		Pool:   []netip.Prefix{addresses[0].Masked(), addresses[1].Masked()},
		Notify: d.notify, Logger: slog.New(slog.DiscardHandler),
	}
	w.dp = w.dataplane()
	return d
}

// freePort is a UDP port that nothing listens on.
func freePort(w *world) uint16 {
	w.t.Helper()
	conn, err := net.ListenUDP("udp", nil)
	require.NoError(w.t, err)
	defer conn.Close()
	return uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}

func (d *direct) notify(e wgnode.DataplaneEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// start starts the dataplane, which must succeed.
func (d *direct) start(want wgnode.State) {
	d.t.Helper()
	info, err := d.dp.Start(d.ctx, d.cfg, want)
	require.NoError(d.t, err)
	require.Equal(d.t, d.cfg.ListenPort, info.ListenPort)
	require.NotEmpty(d.t, info.Name)
}

// peer is the state of a new peer with its private key. The number makes its addresses.
func (d *direct) peer(number byte) (wgnode.PeerState, wgtypes.Key) {
	d.t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(d.t, err)
	v6 := d.cfg.Addresses[1].Addr().As16()
	v6[15] = number
	return wgnode.PeerState{
		PublicKey: key.PublicKey(), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, number}), netip.AddrFrom16(v6)},
	}, key
}

// connect brings up the device of a peer.
func (d *direct) connect(p wgnode.PeerState, private wgtypes.Key) *client {
	d.t.Helper()
	return connect(d.world, wgnode.ClientConfig{
		PrivateKey: private, Addrs: p.Addrs, MTU: d.cfg.MTU, ServerKey: d.cfg.PrivateKey.PublicKey(), PresharedKey: p.PresharedKey,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
		Endpoint:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), d.cfg.ListenPort).String(),
		Keepalive:  clientKeepalive,
	})
}

// apply makes a change, which must succeed.
func (d *direct) apply(change wgnode.Change) {
	d.t.Helper()
	require.NoError(d.t, d.dp.Apply(d.ctx, change))
}

// inSync asserts that the dataplane finds nothing to mend.
func (d *direct) inSync(want wgnode.State) {
	d.t.Helper()
	repairs, err := d.dp.Sync(d.ctx, want)
	require.NoError(d.t, err)
	require.Empty(d.t, repairs, "Sync mends what was not broken")
}

// present returns the keys of the peers that the dataplane holds.
func (d *direct) present() map[wgtypes.Key]bool {
	d.t.Helper()
	stats, err := d.dp.Stats(d.ctx, wgnode.StatsQuery{All: true})
	require.NoError(d.t, err)
	keys := make(map[wgtypes.Key]bool)
	for _, p := range stats.Peers {
		require.False(d.t, keys[p.PublicKey], "a peer is listed twice")
		keys[p.PublicKey] = true
	}
	return keys
}

// keys is the set of the keys of some peers.
func keys(peers ...wgnode.PeerState) map[wgtypes.Key]bool {
	set := make(map[wgtypes.Key]bool)
	for _, p := range peers {
		set[p.PublicKey] = true
	}
	return set
}

// echoes asserts that a client reaches an echo server of its own, in both families.
func (w *world) exits(c *client) {
	w.t.Helper()
	w.allowed(c, []place{w.place("internet", "tcp", w.at(internet4)), w.place("internet", "udp", w.at(internet6))})
}

// cutOff asserts that nothing that a client sends gets out.
func (w *world) cutOff(c *client) {
	w.t.Helper()
	w.denied(c, []place{w.place("internet", "tcp", w.at(internet4)), w.place("internet", "udp", w.at(internet6))}, nil)
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
