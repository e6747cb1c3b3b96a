package wgnode_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/userspace"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// BenchmarkAddPeerDurable is AddPeer on a file, by one caller and by many at once, who share the wait for the disk.
func BenchmarkAddPeerDurable(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			store, err := boltstore.Open(filepath.Join(b.TempDir(), "state.db"), boltstore.Options{})
			require.NoError(b, err)
			node, err := wgnode.New(wgnode.Config{
				Store: store, Dataplane: wgnodetest.NewDataplane(), Pool: ipam.Config{Quarantine: ipam.NoQuarantine},
			})
			require.NoError(b, err)
			require.NoError(b, node.Start(b.Context()))
			defer func() { require.NoError(b, node.Close()) }()
			b.SetParallelism(max(1, callers/2)) // of each processor
			b.ReportAllocs()
			if callers == 1 {
				for b.Loop() {
					_, err := node.AddPeer(b.Context(), wgnode.PeerSpec{})
					require.NoError(b, err)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := node.AddPeer(b.Context(), wgnode.PeerSpec{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// busyDataplane has all peers move a byte between any two readings.
type busyDataplane struct {
	*wgnodetest.Dataplane
	keys  []wgtypes.Key
	moved uint64
}

func (d *busyDataplane) Stats(ctx context.Context, q wgnode.StatsQuery) (wgnode.Stats, error) {
	if !q.All {
		return d.Dataplane.Stats(ctx, q)
	}
	d.moved++
	s := wgnode.Stats{Peers: make([]wgnode.PeerStats, len(d.keys))}
	for i, key := range d.keys {
		s.Peers[i] = wgnode.PeerStats{PublicKey: key, Counters: quota.Counters{Download: d.moved}}
	}
	return s, nil
}

// stocked makes a store with that many peers.
func stocked(b *testing.B, path string, peers int) {
	node := open(b, path, wgnodetest.NewDataplane())
	require.NoError(b, node.Start(b.Context()))
	const some = 10_000
	for peers > 0 {
		specs := make([]wgnode.PeerSpec, min(peers, some))
		for i := range specs {
			specs[i].PublicKey = newKey(b)
			specs[i].DataCap.Bytes = 1 << 40
		}
		_, err := node.AddPeers(b.Context(), specs)
		require.NoError(b, err)
		peers -= len(specs)
	}
	require.NoError(b, node.Close())
}

func open(b *testing.B, path string, d wgnode.Dataplane) *wgnode.Node {
	store, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(b, err)
	node, err := wgnode.New(wgnode.Config{
		Store: store, Dataplane: d, Pool: ipam.Config{Quarantine: ipam.NoQuarantine}, CheckpointPeriod: time.Hour,
	})
	require.NoError(b, err)
	return node
}

// newKey is a public key, which need not have a private one here.
func newKey(b *testing.B) wgtypes.Key {
	key, err := wgtypes.GenerateKey()
	require.NoError(b, err)
	return key
}

// BenchmarkCheckpointDurable stores the usage of 10,000 peers that all moved, on a file.
func BenchmarkCheckpointDurable(b *testing.B) {
	path := filepath.Join(b.TempDir(), "state.db")
	stocked(b, path, 10_000)
	d := &busyDataplane{Dataplane: wgnodetest.NewDataplane()}
	node := open(b, path, d)
	require.NoError(b, node.Start(b.Context()))
	defer func() { require.NoError(b, node.Close()) }()
	for p := range node.Peers(wgnode.ListOptions{}) {
		d.keys = append(d.keys, p.PublicKey)
	}
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, node.Checkpoint(b.Context()))
	}
}

// BenchmarkStartDurable is the start of a node from a file, and how many bytes of it a peer takes. Package userspace is there with
// fewer peers than 65,536, which is what a device of wireguard-go has room for.
func BenchmarkStartDurable(b *testing.B) {
	memory := func() wgnode.Dataplane { return wgnodetest.NewDataplane() }
	inUserspace := func() wgnode.Dataplane {
		d, err := userspace.New(userspace.Config{})
		require.NoError(b, err)
		return d
	}
	for _, c := range []struct {
		name      string
		peers     int
		dataplane func() wgnode.Dataplane
	}{{"memory", 10_000, memory}, {"memory", 100_000, memory}, {"userspace", 10_000, inUserspace}} {
		b.Run(fmt.Sprintf("dataplane=%s/peers=%d", c.name, c.peers), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "state.db")
			stocked(b, path, c.peers)
			file, err := os.Stat(path)
			require.NoError(b, err)
			for b.Loop() {
				node := open(b, path, c.dataplane())
				require.NoError(b, node.Start(b.Context()))
				b.StopTimer()
				require.NoError(b, node.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(file.Size())/float64(c.peers), "B/peer")
		})
	}
}
