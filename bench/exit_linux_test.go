package bench

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

// Dataplanes of an exit.
const (
	// inUserspace and inKernel are the dataplanes of the packages of these names. The kernel's is on a TUN.
	inUserspace = "userspace"
	inKernel    = "kernel"
	// bare is wireguard-go on a TUN and nothing else: the server is the host itself, at the other end of the tunnel.
	bare = "bare"
	// stock is what one would write with wireguard-go's netstack as a model: see stockTUN.
	stock = "stock"
)

// exitConfig says what to measure.
type exitConfig struct {
	// Dataplane is one of the constants.
	Dataplane string
	// State is all that the dataplane has in force, peers included. Bare and stock look at the peers alone.
	State wgnode.State
	// Limits are those of the userspace dataplane.
	Limits userspace.Limits
	// MaxProcs is GOMAXPROCS of the exit's process; 0 leaves it as it is.
	MaxProcs int
}

// exitOrder is the same for the process.
type exitOrder struct {
	Dataplane string
	Private   wgtypes.Key
	State     wgnode.State
	Limits    userspace.Limits
	TUN       int // descriptor, for bare
}

// exit is an exit node in a process of its own, on the site's host.
type exit struct {
	*process
	public wgtypes.Key
	port   uint16
	// server is who the exit's peers talk to.
	server *server
}

// startExit starts an exit, which ends with the benchmark; of the kernel dataplane there is one at a time on a site.
func (s *site) startExit(tb testing.TB, cfg exitConfig) *exit {
	tb.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(tb, err)
	order := exitOrder{Dataplane: cfg.Dataplane, Private: key, State: cfg.State, Limits: cfg.Limits}
	r := role{name: roleExit, privileged: cfg.Dataplane == inKernel}
	x := &exit{public: key.PublicKey(), server: s.world}
	if cfg.MaxProcs > 0 {
		r.env = append(r.env, fmt.Sprintf("GOMAXPROCS=%d", cfg.MaxProcs))
	}
	if cfg.Dataplane == bare {
		const first = 3 // descriptor that a process gets beside its standard ones
		r.files, order.TUN = []*os.File{openBareTUN(tb)}, first
		gateways := prefixes(gateway4, gateway6)
		x.server = newServer(tb, nil, gateways[0].Addr(), gateways[1].Addr())
	}
	x.process = startProcess(tb, r)
	x.port = x.call(tb, request{Kind: askStart, Exit: order}).Port
	return x
}

// openBareTUN makes the host's TUN, with the offloads that wireguard-go gives it, for a process that may not make one.
func openBareTUN(tb testing.TB) *os.File {
	tb.Helper()
	const name = "bare0"
	dev, err := tun.CreateTUN(name, tunnelMTU)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, dev.Close()) })
	setUp(tb, nil, name, prefixes(gateway4, gateway6))
	return dev.File()
}

// apply changes what is in force.
func (x *exit) apply(tb testing.TB, c wgnode.Change) {
	tb.Helper()
	x.call(tb, request{Kind: askApply, Change: c})
}

// stats reads all counters, handshakes included.
func (x *exit) stats(tb testing.TB) wgnode.Stats {
	tb.Helper()
	return x.call(tb, request{Kind: askStats, Query: wgnode.StatsQuery{All: true, Device: true}}).Stats
}

// counters reads those of one peer.
func (x *exit) counters(tb testing.TB, key wgtypes.Key) wgnode.PeerStats {
	tb.Helper()
	s := x.call(tb, request{Kind: askStats, Query: wgnode.StatsQuery{Peers: []wgtypes.Key{key}}}).Stats
	require.Len(tb, s.Peers, 1)
	return s.Peers[0]
}

// events are what the node was told since the start.
func (x *exit) events() []event {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]event(nil), x.process.events...)
}

// profile takes a profile of the process, "cpu", "mutex", "block" or "heap", over so long.
func (x *exit) profile(tb testing.TB, kind string, d time.Duration) []byte {
	tb.Helper()
	return x.call(tb, request{Kind: askProfile, Profile: kind, Duration: d}).Profile
}

// endpoint is where the exit listens, as seen from a client whose link to the host has the address.
func (x *exit) endpoint(host netip.Addr) netip.AddrPort { return netip.AddrPortFrom(host, x.port) }
