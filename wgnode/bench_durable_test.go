package wgnode_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
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
