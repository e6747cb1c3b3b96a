package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

func commitNumbers(t *testing.T, store wgnode.Store, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		require.NoError(t, store.Commit(t.Context(), numbered(n)))
	}
}

func requireContents(t *testing.T, path string, want map[storetest.ID]string) {
	t.Helper()
	store := open(t, path)
	got, err := storetest.Contents(t.Context(), store)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, store.Close())
}

func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	require.ElementsMatch(t, names, found)
}

// Backups of a store that is written to all the time are each of one moment.
func TestBackupWhileCommitting(t *testing.T) {
	store, dir := open(t, newPath(t)), t.TempDir()
	commitNumbers(t, store, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() {
		for n := 2; ; n++ {
			if err := store.Commit(ctx, numbered(n)); err != nil {
				written <- err
				return
			}
		}
	}()
	last := 0
	for i := range 20 {
		path := filepath.Join(dir, strconv.Itoa(i))
		report, err := store.Backup(t.Context(), path, boltstore.BackupOptions{})
		require.NoError(t, err)
		require.NoError(t, report.Err())
		require.Equal(t, path, report.Path)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, report.Size, info.Size())
		if runtime.GOOS != "windows" {
			require.Equal(t, fs.FileMode(0o600), info.Mode())
		}
		got, err := storetest.Contents(t.Context(), open(t, path))
		require.NoError(t, err)
		require.Equal(t, report.Records, uint64(len(got)))
		n, err := strconv.Atoi(got[storetest.ID{Kind: wgnode.RecordNode, Key: "last"}])
		require.NoError(t, err)
		require.Equal(t, afterNumber(n), got)
		require.GreaterOrEqual(t, n, last)
		last = n
	}
	cancel()
	require.ErrorIs(t, <-written, context.Canceled)
	require.Greater(t, last, 1)
}

// halting writes nothing until it may.
type halting struct {
	bytes.Buffer
	begun, on chan struct{}
}

func (h *halting) Write(b []byte) (int, error) {
	select {
	case <-h.begun:
	default:
		close(h.begun)
	}
	<-h.on
	return h.Buffer.Write(b)
}

// A backup that is held up holds up no commit, not even one that makes the file larger than it has ever been.
func TestCommitsDoNotWaitForBackups(t *testing.T) {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		t.Skip("the file's map has no room to grow here")
	}
	store := open(t, newPath(t))
	commitNumbers(t, store, 1, 3)
	slow := &halting{begun: make(chan struct{}), on: make(chan struct{})}
	copied := make(chan error, 1)
	go func() { copied <- store.Copy(t.Context(), slow) }()
	<-slow.begun
	for n := range 40 {
		value := string(bytes.Repeat([]byte{byte(n)}, 100_000))
		require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordAccount, strconv.Itoa(n), value)}))
	}
	close(slow.on)
	require.NoError(t, <-copied)
	path := newPath(t)
	_, err := boltstore.SaveBackup(t.Context(), path, boltstore.BackupOptions{}, func(_ context.Context, to io.Writer) error {
		_, err := slow.WriteTo(to)
		return err
	})
	require.NoError(t, err)
	requireContents(t, path, afterNumber(3))
}

func TestBackupRefusals(t *testing.T) {
	path := newPath(t)
	store, dir := open(t, path), t.TempDir()
	replace := boltstore.BackupOptions{Overwrite: true}
	commitNumbers(t, store, 1, 5)
	backup := filepath.Join(dir, "backup.db")
	require.NoError(t, os.WriteFile(backup, []byte("mine"), 0o644))

	_, err := store.Backup(t.Context(), backup, boltstore.BackupOptions{})
	require.ErrorIs(t, err, fs.ErrExist)
	content, err := os.ReadFile(backup)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))

	_, err = store.Backup(t.Context(), path, replace)
	require.ErrorIs(t, err, boltstore.ErrLocked, "a state that a node uses must not be replaced")
	_, err = store.Backup(t.Context(), dir, replace)
	require.ErrorContains(t, err, "it is no file but")
	_, err = store.Backup(t.Context(), filepath.Join(dir, "absent", "x"), boltstore.BackupOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = store.Backup(ctx, filepath.Join(dir, "canceled.db"), boltstore.BackupOptions{})
	require.ErrorIs(t, err, context.Canceled)
	full := errors.New("full")
	_, err = boltstore.SaveBackup(t.Context(), backup, replace, func(ctx context.Context, to io.Writer) error {
		return errors.Join(store.Copy(ctx, to), full)
	})
	require.ErrorIs(t, err, full)
	_, err = boltstore.SaveBackup(t.Context(), backup, replace, func(_ context.Context, to io.Writer) error {
		_, err := to.Write(make([]byte, 1<<16))
		return err
	})
	require.ErrorIs(t, err, boltstore.ErrDamaged, "a copy that is no state")
	require.ErrorContains(t, err, "the copy is of no use")
	content, err = os.ReadFile(backup)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
	requireOnly(t, dir, "backup.db")

	_, err = store.Backup(t.Context(), backup, replace)
	require.NoError(t, err)
	requireContents(t, backup, afterNumber(5))
	_, err = boltstore.BackupFile(t.Context(), path, filepath.Join(dir, "second.db"), boltstore.BackupOptions{})
	require.ErrorIs(t, err, boltstore.ErrLocked)

	require.NoError(t, store.Close())
	_, err = store.Backup(t.Context(), filepath.Join(dir, "second.db"), boltstore.BackupOptions{})
	require.ErrorIs(t, err, boltstore.ErrClosed)
	_, err = boltstore.BackupFile(t.Context(), path, filepath.Join(dir, "second.db"), boltstore.BackupOptions{})
	require.NoError(t, err)
	requireContents(t, filepath.Join(dir, "second.db"), afterNumber(5))
	requireOnly(t, dir, "backup.db", "second.db")
}

func TestSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	size, err := s.Size()
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), size)
	require.NoError(t, os.Remove(path))
	_, err = s.Size()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "measure")
}
