package nft_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// BenchmarkCounters reads all counters of a table: with all else in a dump, and by their names.
func BenchmarkCounters(b *testing.B) {
	netns.Require(b)
	conn, reader := dial(b), dialReader(b)
	table := nft.Table{Family: nft.Inet, Name: "bench"}
	batch := &nft.Batch{}
	batch.AddTable(table)
	require.NoError(b, conn.Commit(batch))
	defer func() {
		batch := &nft.Batch{}
		batch.DeleteTable(table)
		require.NoError(b, conn.Commit(batch))
	}()
	var names []string
	for _, n := range []int{2_000, 20_000, 120_000} {
		batch := &nft.Batch{}
		for len(names) < n {
			name := fmt.Sprintf("p%032x_d", len(names))
			names = append(names, name)
			batch.SetObject(table, name, nft.Object{})
		}
		require.NoError(b, conn.Commit(batch))
		b.Run(fmt.Sprintf("of=dump/counters=%d", n), func(b *testing.B) {
			for b.Loop() {
				objects, err := conn.Objects(table)
				require.NoError(b, err)
				require.Len(b, objects, n)
			}
		})
		b.Run(fmt.Sprintf("of=names/counters=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var read atomic.Int64
				require.NoError(b, reader.Named(table, false, names, func(int, nft.Object) { read.Add(1) }))
				require.EqualValues(b, n, read.Load())
			}
		})
	}
}
