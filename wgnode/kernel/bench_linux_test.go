//go:build linux

package kernel_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// benchPeers are the numbers of peers to measure beside: BENCH_PEERS, a list with blanks between.
func benchPeers(b *testing.B) (sizes []int) {
	b.Helper()
	for field := range strings.FieldsSeq(cmp.Or(os.Getenv("BENCH_PEERS"), "0 100 1000 10000")) {
		n, err := strconv.Atoi(field)
		require.NoError(b, err, "BENCH_PEERS is a list of numbers")
		require.True(b, n >= 0 && n <= 60_000, "BENCH_PEERS: %d peers; a dataplane has room for 60,000 and those of the benchmark", n)
		sizes = append(sizes, n)
	}
	return sizes
}

// benchPool are the addresses of all peers.
func benchPool() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd77::/64")}
}

// benchPeer is the i-th peer: shaped, capped, with an address of each family.
func benchPeer(i int) wgnode.PeerState {
	var key wgtypes.Key
	binary.BigEndian.PutUint64(key[:], uint64(i)+1)
	v4 := netip.AddrFrom4([4]byte{10, byte((i + 2) >> 16), byte((i + 2) >> 8), byte(i + 2)})
	v6 := netip.MustParseAddr("fd77::").As16()
	binary.BigEndian.PutUint32(v6[12:], uint32(i+2))
	return wgnode.PeerState{
		PublicKey: key, Addrs: []netip.Addr{v4, netip.AddrFrom16(v6)},
		SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 10_000_000},
		Budget:     quota.Budget{Limited: true, Limit: 1 << 40, Mark: 1 << 39},
	}
}

// times are how long something took, each time.
type times []time.Duration

// of measures f.
func (t *times) of(f func()) {
	began := time.Now()
	f()
	*t = append(*t, time.Since(began))
}

// at is the time that so large a part of them took at most.
func (t times) at(part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(part*float64(len(sorted)-1))]
}

func (t times) sum() (sum time.Duration) {
	for _, d := range t {
		sum += d
	}
	return sum
}

// report reports the median in milliseconds, and with tail the 95th percentile.
func (t times) report(b *testing.B, what string, tail bool) {
	b.ReportMetric(milliseconds(t.at(0.5)), what+"-ms")
	if tail {
		b.ReportMetric(milliseconds(t.at(0.95)), what+"-p95-ms")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// life is what happens to a peer.
type life struct{ add, change, remove func() }

// measure gives one peer after another its life, and reports how long each part took. What a benchmark reports by itself, the
// time of all together, is left out.
func (l life) measure(b *testing.B) {
	var add, change, remove times
	for b.Loop() {
		add.of(l.add)
		change.of(l.change)
		remove.of(l.remove)
	}
	b.ReportMetric(0, "ns/op")
	add.report(b, "add", true)
	change.report(b, "change", true)
	remove.report(b, "remove", true)
}

// BenchmarkPeer measures what one peer costs beside many others: this dataplane, and the programs that a script runs.
func BenchmarkPeer(b *testing.B) {
	for _, n := range benchPeers(b) {
		b.Run(fmt.Sprintf("by=kernel/peers=%d", n), func(b *testing.B) { benchKernel(b, n) })
		b.Run(fmt.Sprintf("by=shell/peers=%d", n), func(b *testing.B) { benchShell(b, n) })
	}
}

// benchDataplane starts a dataplane on a TUN, with n peers.
func benchDataplane(b *testing.B, n int) (*kernel.Dataplane, wgnode.State) {
	b.Helper()
	netns.Require(b)
	resetHost(b)
	dp, err := kernel.New(kernel.Config{Interface: rigInterface, Driver: kernel.DriverTUN})
	require.NoError(b, err)
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(b, err)
	var want wgnode.State
	for i := range n {
		want.Peers = append(want.Peers, benchPeer(i))
	}
	_, err = dp.Start(b.Context(), wgnode.DataplaneConfig{
		PrivateKey: private, MTU: 1420, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("fd77::1/64")},
		Pool: benchPool(), Notify: func(wgnode.DataplaneEvent) {}, Logger: slog.New(slog.DiscardHandler),
	}, want)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, dp.Close()) })
	return dp, want
}

// benchKernel measures a dataplane: its start with n peers, and then one more that is added (classes, objects, elements and
// device, both families), changed in its limit, and removed; Sync that finds nothing to mend; Stats; and 200 peers added in a
// row, while the pool of classes is filled again.
func benchKernel(b *testing.B, n int) {
	var start, settle, sync, stats, burst times
	var dp *kernel.Dataplane
	var want wgnode.State
	start.of(func() { dp, want = benchDataplane(b, n) })
	settle.of(func() { awaitClasses(b, dp) })

	apply := func(c wgnode.Change) { require.NoError(b, dp.Apply(b.Context(), c)) }
	// A node does not give an address to another at once; neither does this.
	next := n
	fresh := func() wgnode.PeerState {
		next++
		return benchPeer(next)
	}
	var one wgnode.PeerState
	life{
		add: func() {
			one = fresh()
			apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}})
		},
		change: func() {
			one.SpeedLimit = shaping.Limit{Download: 30_000_000, Upload: 15_000_000}
			apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}})
		},
		remove: func() { apply(wgnode.Change{RemovePeers: []wgtypes.Key{one.PublicKey}}) },
	}.measure(b)

	const often, many = 5, 200
	for range often {
		sync.of(func() {
			repairs, err := dp.Sync(b.Context(), want)
			require.NoError(b, err)
			require.Empty(b, repairs)
		})
		stats.of(func() {
			_, err := dp.Stats(b.Context(), wgnode.StatsQuery{All: true})
			require.NoError(b, err)
		})
	}
	for range many {
		burst.of(func() { apply(wgnode.Change{SetPeers: []wgnode.PeerState{fresh()}}) })
	}
	start.report(b, "start", false)
	settle.report(b, "settle", false)
	sync.report(b, "sync", false)
	stats.report(b, "stats", false)
	// The mean, as what the filling costs does not come evenly.
	b.ReportMetric(milliseconds(burst.sum())/many, "burst-ms")
	b.ReportMetric(milliseconds(burst.at(0.95)), "burst-p95-ms")
}

// awaitClasses waits until the pool of free classes is full: its growth holds the kernel's lock for all network configuration,
// and whatever is measured before waits for that.
func awaitClasses(b *testing.B, dp *kernel.Dataplane) {
	const calm, patience = time.Second, 20 * time.Minute
	deadline, last, since := time.Now().Add(patience), dp.Classes(), time.Now()
	for last.Ready == 0 || time.Since(since) < calm {
		require.True(b, time.Now().Before(deadline), "the pool of classes is not full after %v: %+v", patience, last)
		time.Sleep(calm / 20)
		if now := dp.Classes(); now != last {
			last, since = now, time.Now()
		}
	}
}
