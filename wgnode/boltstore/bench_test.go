package boltstore_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// peerRecords are the two records of a peer, as long as a node's are, under a key that comes anywhere among the others.
func peerRecords(n int) []wgnode.Mutation {
	hash := sha256.Sum256([]byte(fmt.Sprint(n)))
	key := base64.StdEncoding.EncodeToString(hash[:])
	return []wgnode.Mutation{
		storetest.Put(wgnode.RecordPeer, key, strings.Repeat("d", 250)),
		storetest.Put(wgnode.RecordPeerUsage, key, strings.Repeat("u", 280)),
	}
}

func peers(from, to int) []wgnode.Mutation {
	var batch []wgnode.Mutation
	for n := from; n < to; n++ {
		batch = append(batch, peerRecords(n)...)
	}
	return batch
}

// filled is a store with peers, which came a thousand at a time.
func filled(b *testing.B, n int) *boltstore.Store {
	b.Helper()
	store, err := boltstore.Open(newPath(b), boltstore.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	for from := 0; from < n; from += 1000 {
		require.NoError(b, store.Commit(b.Context(), peers(from, min(from+1000, n))))
	}
	return store
}

// BenchmarkCommit has 10,000 peers stored, and adds some in one durable commit. Time is per commit.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("peers=%d", size), func(b *testing.B) {
			store, next := filled(b, 10_000), 10_000
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, store.Commit(b.Context(), peers(next, next+size)))
				next += size
			}
		})
	}
	b.Run("peers=1/goroutines=64", func(b *testing.B) {
		store := filled(b, 10_000)
		var next atomic.Int64
		next.Store(10_000)
		b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := store.Commit(b.Context(), peerRecords(int(next.Add(1)))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkOpen opens a file of many peers, which is read and checked whole, and loads every record.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			store := filled(b, n)
			path := store.Path()
			report, err := store.Backup(b.Context(), path+".copy", boltstore.BackupOptions{})
			require.NoError(b, err)
			require.NoError(b, store.Close())
			for b.Loop() {
				store, err := boltstore.Open(path, boltstore.Options{})
				require.NoError(b, err)
				records := 0
				for _, err := range store.Load(b.Context()) {
					require.NoError(b, err)
					records++
				}
				require.Equal(b, 2*n, records)
				require.NoError(b, store.Close())
			}
			b.ReportMetric(float64(report.Size)/float64(n), "B/peer")
		})
	}
}

// BenchmarkBackup copies a store of many peers, and reads the copy back.
func BenchmarkBackup(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			store := filled(b, n)
			path := newPath(b)
			for b.Loop() {
				report, err := store.Backup(b.Context(), path, boltstore.BackupOptions{Overwrite: true})
				require.NoError(b, err)
				b.SetBytes(report.Size)
			}
			require.NoError(b, os.Remove(path))
		})
	}
}
