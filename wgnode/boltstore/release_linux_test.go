package boltstore_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/boltstore"
)

// TestLoadKeepsNoPages holds that what Load has read does not stay resident, and that it can be read again.
func TestLoadKeepsNoPages(t *testing.T) {
	store, err := boltstore.Open(newPath(t), boltstore.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	require.NoError(t, store.Commit(t.Context(), peers(0, 10_000)))
	size, err := store.Size()
	require.NoError(t, err)
	for range 2 {
		most, records := 0.0, 0
		before := mapped(t)
		for _, err := range store.Load(t.Context()) {
			require.NoError(t, err)
			if records++; records == 19_000 {
				most = mapped(t) - before
			}
		}
		require.Equal(t, 20_000, records)
		require.Greater(t, most, float64(size)/4, "nothing was resident: the test shows nothing")
		require.Less(t, mapped(t)-before, most/4)
	}
}

// TestCommitsKeepNoPages holds that what many small commits have read of a large file does not stay resident.
func TestCommitsKeepNoPages(t *testing.T) {
	const commits = 520 // not long after a time when memory was given back, see mappedWrites
	path := newPath(t)
	store, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(t, err)
	all := peers(0, 50_000)
	require.NoError(t, store.Commit(t.Context(), all))
	require.NoError(t, store.Close())
	store, err = boltstore.Open(path, boltstore.Options{}) // nothing of it is mapped
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	before, most := mapped(t), 0.0
	for i := range commits {
		require.NoError(t, store.Commit(t.Context(), all[i*(len(all)/commits):][:1]))
		most = max(most, mapped(t)-before)
	}
	require.Greater(t, most, 4.0*(1<<20), "nothing was resident: the test shows nothing")
	require.Less(t, mapped(t)-before, most/4)
}

// mapped is what is resident of mapped files, in bytes.
func mapped(t *testing.T) float64 {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(status), "RssFile:")
	require.True(t, ok)
	kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(t, err)
	return kB * 1024
}
