package metrics_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

func TestMeasureStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	bolt, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(t, err)
	store := metrics.MeasureStore(bolt)
	require.Same(t, bolt, store.Unwrap())
	node, _ := start(t, func(c *wgnode.Config) { c.Store = store })
	before := gather(t, store)
	_, err = node.AddPeer(t.Context(), wgnode.PeerSpec{})
	require.NoError(t, err)
	got := gather(t, store)
	require.GreaterOrEqual(t, got["waylume_store_commits_total{result=success}"], before["waylume_store_commits_total{result=success}"]+1)
	require.GreaterOrEqual(t, got["waylume_store_mutations_total"], before["waylume_store_mutations_total"]+2, "the peer and its usage")
	require.InDelta(t, got["waylume_store_commits_total{result=success}"], got["waylume_store_commit_duration_seconds"], 0)
	require.GreaterOrEqual(t, got["waylume_store_size_bytes"], 4096.0)
	require.InDelta(t, 0, got["waylume_store_commits_total{result=failure}"], 0)
	require.NoError(t, node.Close())
	require.NoError(t, bolt.Close())

	again, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(t, err, "closed through the wrapper")
	require.NoError(t, again.Close())
}

type failing struct{ *wgnode.MemoryStore }

var errDisk = errors.New("the disk is full")

func (failing) Commit(context.Context, []wgnode.Mutation) error { return errDisk }

func TestMeasureStoreThatFails(t *testing.T) {
	store := metrics.MeasureStore(failing{wgnode.NewMemoryStore()})
	require.ErrorIs(t, store.Commit(t.Context(), make([]wgnode.Mutation, 3)), errDisk)
	got := gather(t, store)
	require.InDelta(t, 1, got["waylume_store_commits_total{result=failure}"], 0)
	require.InDelta(t, 0, got["waylume_store_mutations_total"], 0)
	require.NotContains(t, got, "waylume_store_size_bytes", "a store in memory has none")
}

func TestCertificate(t *testing.T) {
	var ends time.Time
	c := metrics.NewCertificate(func() time.Time { return ends })
	require.Empty(t, gather(t, c))
	ends = time.Unix(1_900_000_000, 0)
	require.InDelta(t, 1.9e9, gather(t, c)["waylume_tls_certificate_expiry_timestamp_seconds"], 0)
}
