package bench

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// controlLives is how many peers come, change and go in one measurement, one after the other.
func controlLives() int {
	if full() {
		return 1000
	}
	return 200
}

// controlSizes are the numbers of peers to measure beside. The kernel walks all classes of a device for each that is added to it,
// and takes 22 minutes to start with 50,000.
func controlSizes(dataplane string) []int {
	switch {
	case dataplane == "kernel":
		return []int{1_000, 10_000}
	case full():
		return []int{0, 1_000, 10_000, 50_000, 100_000}
	default:
		return []int{0, 1_000, 10_000}
	}
}

// BenchmarkControl measures what a node does beside many peers, with its state on the disk: one peer added, changed in its limit and
// removed, each of which waits for the disk; its start with all of them; a Sync that finds nothing to mend; and the statistics of
// all. Peers have a limit, a cap, and an address of each family.
func BenchmarkControl(b *testing.B) {
	netns.Require(b)
	for _, dataplane := range []string{"userspace", "kernel"} {
		for _, peers := range controlSizes(dataplane) {
			b.Run(fmt.Sprintf("dataplane=%s/peers=%d", dataplane, peers), func(b *testing.B) {
				c := newControl(b, dataplane, peers)
				for b.Loop() {
					c.measure(b)
				}
				c.report(b)
			})
		}
	}
}

// control is a node's control path, and how long its parts took.
type control struct {
	dataplane string
	path      string // of the state

	start, add, change, remove, sync, stats durations
}

func newControl(b *testing.B, dataplane string, peers int) *control {
	c := &control{dataplane: dataplane, path: filepath.Join(b.TempDir(), "state.db")}
	c.stock(b, peers)
	return c
}

// stock puts peers into the state, by way of a dataplane that costs nothing.
func (c *control) stock(b *testing.B, peers int) {
	node := c.node(b, wgnodetest.NewDataplane())
	require.NoError(b, node.Start(b.Context()))
	const some = 10_000
	for peers > 0 {
		specs := make([]wgnode.PeerSpec, min(peers, some))
		for i := range specs {
			specs[i] = controlPeer()
		}
		_, err := node.AddPeers(b.Context(), specs)
		require.NoError(b, err)
		peers -= len(specs)
	}
	require.NoError(b, node.Close())
}

// controlPeer is a peer that never comes: its key is any number.
func controlPeer() wgnode.PeerSpec {
	spec := wgnode.PeerSpec{SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 10_000_000}, DataCap: quota.Cap{Bytes: quota.TiB}}
	_, _ = rand.Read(spec.PublicKey[:]) // it never fails
	return spec
}

func (c *control) node(b *testing.B, d wgnode.Dataplane) *wgnode.Node {
	store, err := boltstore.Open(c.path, boltstore.Options{})
	require.NoError(b, err)
	node, err := wgnode.New(wgnode.Config{Store: store, Dataplane: d, Pool: ipam.Config{Quarantine: ipam.NoQuarantine}})
	require.NoError(b, err)
	return node
}

func (c *control) newDataplane(b *testing.B) wgnode.Dataplane {
	if c.dataplane == "kernel" {
		d, err := kernel.New(kernel.Config{Driver: kernel.DriverTUN})
		require.NoError(b, err)
		return d
	}
	d, err := userspace.New(userspace.Config{})
	require.NoError(b, err)
	return d
}

// measure starts the node anew and does everything to it.
func (c *control) measure(b *testing.B) {
	node := c.node(b, c.newDataplane(b))
	c.start.of(func() { require.NoError(b, node.Start(b.Context())) })
	defer func() { require.NoError(b, node.Close()) }()
	awaitCalm(b)
	const often = 5
	for range often {
		c.sync.of(func() {
			repairs, err := node.Sync(b.Context())
			require.NoError(b, err)
			require.Empty(b, repairs)
		})
		c.stats.of(func() {
			_, err := node.AllPeerStats(b.Context())
			require.NoError(b, err)
		})
	}
	for range controlLives() {
		c.life(b, node)
	}
}

// life is that of one peer.
func (c *control) life(b *testing.B, node *wgnode.Node) {
	spec := controlPeer()
	c.add.of(func() {
		_, err := node.AddPeer(b.Context(), spec)
		require.NoError(b, err)
	})
	c.change.of(func() {
		limit := shaping.Limit{Download: 30_000_000, Upload: 15_000_000}
		require.NoError(b, node.SetSpeedLimit(b.Context(), wgnode.OfPeer(spec.PublicKey), limit))
	})
	c.remove.of(func() { require.NoError(b, node.RemovePeer(b.Context(), spec.PublicKey)) })
}

func (c *control) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	for _, one := range []struct {
		name string
		took durations
	}{{"add", c.add}, {"change", c.change}, {"remove", c.remove}} {
		b.ReportMetric(one.took.at(0.5), one.name+"-ms")
		b.ReportMetric(one.took.at(0.99), one.name+"-p99-ms")
	}
	b.ReportMetric(c.start.at(0.5), "start-ms")
	b.ReportMetric(c.sync.at(0.5), "sync-ms")
	b.ReportMetric(c.stats.at(0.5), "stats-ms")
}

// durations are how long something took, each time.
type durations []time.Duration

func (d *durations) of(f func()) {
	began := time.Now()
	f()
	*d = append(*d, time.Since(began))
}

// at is the time that so large a part of them took at most, in milliseconds.
func (d durations) at(part float64) float64 {
	sorted := slices.Sorted(slices.Values(d))
	return float64(sorted[int(part*float64(len(sorted)-1))]) / float64(time.Millisecond)
}

// awaitCalm waits until this process has next to nothing to do: a dataplane of the kernel fills its pool of classes after the start,
// and holds the lock of all network configuration meanwhile.
func awaitCalm(b *testing.B) {
	b.Helper()
	const window, busy, patience = 500 * time.Millisecond, 25 * time.Millisecond, 20 * time.Minute
	deadline := time.Now().Add(patience)
	for last := processorTime(b); ; {
		time.Sleep(window)
		now := processorTime(b)
		if now-last < busy {
			return
		}
		require.True(b, time.Now().Before(deadline), "the node is not calm after %v", patience)
		last = now
	}
}

// processorTime is what this process has had, of its own and in the kernel.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return time.Duration(unix.TimevalToNsec(usage.Utime) + unix.TimevalToNsec(usage.Stime))
}
