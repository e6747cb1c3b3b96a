package wgnode_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/userspace"
)

// unprivileged is a node on a file and in package userspace, which is what needs no privilege.
func unprivileged(b *testing.B, path string) *wgnode.Node {
	d, err := userspace.New(userspace.Config{})
	require.NoError(b, err)
	return open(b, path, d)
}

// register adds peers that were never heard of.
func register(b *testing.B, node *wgnode.Node, peers int) {
	const some = 10_000
	for left := peers; left > 0; left -= min(left, some) {
		specs := make([]wgnode.PeerSpec, min(left, some))
		for i := range specs {
			specs[i].PublicKey = newKey(b)
			specs[i].DataCap.Bytes = 1 << 40
		}
		_, err := node.AddPeers(b.Context(), specs)
		require.NoError(b, err)
	}
}

// BenchmarkRegistered is a whole node without privilege, in package userspace and on a file, with peers that were never heard of, and
// with some that have a session and have moved a packet: how long it takes to add one and to start with all of them, the most that
// was resident of the process during that start, and what is when the node has checkpointed, of which RssFile is the program and what
// of the node's file the system keeps in memory anyway. B/peer is beside what a node without peers takes. Without a limit the memory
// that nobody uses is given back first, which is the least that the node can be; with one, which is GOMEMLIMIT, nothing is forced:
// that is what an operator sees. The clients of those that are active are gone by then, their sessions are in the node yet.
func BenchmarkRegistered(b *testing.B) {
	if testing.Short() {
		b.Skip("takes a minute")
	}
	for _, c := range []struct{ peers, active, limit int }{{10_000, 0, 0}, {200_000, 0, 0}, {200_000, 1000, 350}} {
		limit := "none"
		if c.limit > 0 {
			limit = fmt.Sprintf("%dMiB", c.limit)
		}
		b.Run(fmt.Sprintf("peers=%d/active=%d/limit=%s", c.peers, c.active, limit), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "state.db")
			var added, started time.Duration
			var empty, peak, after map[string]float64
			for b.Loop() {
				require.NoError(b, os.RemoveAll(path))
				node := unprivileged(b, path)
				require.NoError(b, node.Start(b.Context()))
				empty = resident(b, true)
				began := time.Now()
				register(b, node, c.peers-c.active)
				added = time.Since(began)
				clients := addClients(b, node, c.active)
				require.NoError(b, node.Close())

				node = unprivileged(b, path)
				forgetPeak(b)
				before := debug.SetMemoryLimit(-1)
				if c.limit > 0 {
					debug.SetMemoryLimit(int64(c.limit) << 20)
				}
				began = time.Now()
				require.NoError(b, node.Start(b.Context()))
				started = time.Since(began)
				peak = resident(b, c.limit == 0)
				closeClients := connectClients(b, node, clients)
				require.NoError(b, node.Checkpoint(b.Context()))
				closeClients() // the node does not learn of it
				if c.limit > 0 {
					time.Sleep(5 * time.Second) // in which theirs goes, as it is more than the limit
				}
				after = resident(b, c.limit == 0)
				debug.SetMemoryLimit(before)
				require.Equal(b, c.active, moved(b, node))
				require.NoError(b, node.Close())
			}
			b.ReportMetric(float64(added.Microseconds())/float64(c.peers), "us/added")
			b.ReportMetric(started.Seconds(), "s/start")
			b.ReportMetric(peak["VmHWM"]/(1<<20), "MiB-peak")
			for _, kind := range []string{"VmRSS", "RssAnon", "RssFile"} {
				b.ReportMetric(after[kind]/(1<<20), "MiB-"+kind)
			}
			b.ReportMetric((after["RssAnon"]-empty["RssAnon"])/float64(c.peers), "B/peer")
		})
	}
}

// forgetPeak has VmHWM count from now on, see proc_pid_clear_refs(5).
func forgetPeak(b *testing.B) {
	resident(b, true) // or the peak would begin with what the node before has left
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skip("this system keeps the peak of a process for ever: ", err)
	}
}

// resident is what is resident of this process, in bytes, by the names of proc_pid_status(5); at least, or as it is.
func resident(b *testing.B, least bool) map[string]float64 {
	if least {
		debug.FreeOSMemory()
		debug.FreeOSMemory() // what pools keep goes with the second
	}
	file, err := os.Open("/proc/self/status")
	if err != nil {
		b.Skip("this system has no /proc")
	}
	defer file.Close()
	sizes := make(map[string]float64)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if number, ok := strings.CutSuffix(strings.TrimSpace(value), " kB"); ok {
			kB, err := strconv.ParseFloat(number, 64)
			require.NoError(b, err)
			sizes[name] = kB * 1024
		}
	}
	return sizes
}

// manyRegistered is a node with 10,000 peers that were never heard of.
func manyRegistered(b *testing.B) *wgnode.Node {
	node := unprivileged(b, filepath.Join(b.TempDir(), "state.db"))
	require.NoError(b, node.Start(b.Context()))
	b.Cleanup(func() { require.NoError(b, node.Close()) })
	register(b, node, 10_000)
	return node
}

// BenchmarkReconcile is a sync of 10,000 peers in package userspace that finds nothing to mend.
func BenchmarkReconcile(b *testing.B) {
	node := manyRegistered(b)
	b.ReportAllocs()
	for b.Loop() {
		repairs, err := node.Sync(b.Context())
		require.NoError(b, err)
		require.Empty(b, repairs)
	}
}

// BenchmarkStatus is what a status page of 10,000 peers in package userspace asks for.
func BenchmarkStatus(b *testing.B) {
	node := manyRegistered(b)
	b.Run("statistics", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			stats, err := node.AllPeerStats(b.Context())
			require.NoError(b, err)
			require.Len(b, stats, 10_000)
		}
	})
	b.Run("quality", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			list, err := node.PeerQualities()
			require.NoError(b, err)
			require.Len(b, list, 10_000)
		}
	})
	b.Run("peers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			count := 0
			for range node.Peers(wgnode.ListOptions{}) {
				count++
			}
			require.Equal(b, 10_000, count)
		}
	})
}

// BenchmarkStoreMemory is what the file of 100,000 peers takes of the process when it was loaded.
func BenchmarkStoreMemory(b *testing.B) {
	const peers = 100_000
	path := filepath.Join(b.TempDir(), "state.db")
	stocked(b, path, peers)
	for b.Loop() {
		before := resident(b, true)
		store, err := boltstore.Open(path, boltstore.Options{})
		require.NoError(b, err)
		for _, err := range store.Load(b.Context()) {
			require.NoError(b, err)
		}
		after := resident(b, true)
		require.NoError(b, store.Close())
		for _, kind := range []string{"RssAnon", "RssFile"} {
			b.ReportMetric((after[kind]-before[kind])/peers, "B/peer-"+kind)
		}
	}
}
