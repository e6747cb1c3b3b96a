package boltstore

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// After a commit that failed the file is opened again, and it must be the same.
func TestHealWithAnotherFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open keeps its name there")
	}
	dir := t.TempDir()
	path, away := filepath.Join(dir, "state.db"), filepath.Join(dir, "away.db")
	store, err := Open(path, Options{})
	require.NoError(t, err)
	commit := func(key string) error {
		return store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordPeer, key, "value")})
	}
	require.NoError(t, commit("one"))
	require.NoError(t, os.Rename(path, away))
	store.suspect.Store(true)
	for range 2 {
		require.ErrorIs(t, commit("two"), os.ErrNotExist)
	}
	_, err = storetest.Contents(t.Context(), store)
	require.ErrorContains(t, err, "could not be opened again")

	other, err := Open(path, Options{})
	require.NoError(t, err)
	require.NoError(t, other.Close())
	for range 2 {
		require.ErrorContains(t, commit("two"), "another file has taken its place")
	}
	require.NoError(t, os.Rename(away, path))
	require.NoError(t, commit("two"))
	got, err := storetest.Contents(t.Context(), store)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.NoError(t, store.Close())
	require.ErrorIs(t, commit("three"), ErrClosed)
}

// A store whose file went away can be closed.
func TestCloseAfterFailedHeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	store, err := Open(path, Options{})
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 0))
	store.suspect.Store(true)
	require.Error(t, store.Commit(t.Context(), nil))
	require.NoError(t, store.Close())
}

// A file that is cut off under a store that has it open ends no process, and the store can be closed.
func TestCutOffWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is mapped keeps its size there")
	}
	path := filepath.Join(t.TempDir(), "state.db")
	store, err := Open(path, Options{})
	require.NoError(t, err)
	batch := []wgnode.Mutation{storetest.Put(wgnode.RecordPeer, "one", "value")}
	require.NoError(t, store.Commit(t.Context(), batch))
	require.NoError(t, os.Truncate(path, 0))
	_, err = storetest.Contents(t.Context(), store)
	require.ErrorIs(t, err, ErrDamaged)
	for range 2 {
		require.ErrorIs(t, store.Commit(t.Context(), batch), ErrDamaged)
	}
	require.NoError(t, store.Close())
	require.ErrorIs(t, store.Commit(t.Context(), batch), ErrClosed)
	_, err = Open(path, Options{})
	require.ErrorContains(t, err, "it is empty", "it is not locked any more")
}
