package state

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func commit(t *testing.T, store wgnode.Store, key string) {
	t.Helper()
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordPeer, key, "value")}))
}

// A backup comes from the node that runs, and without one from the file: the same records, and nothing of a failure is left.
func TestBackup(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	backup := filepath.Join(to, "backup.db")
	_, _, err := Backup(t.Context(), dir, backup, boltstore.BackupOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist, "there is no state")

	store, err := boltstore.Open(File(dir), boltstore.Options{})
	require.NoError(t, err)
	commit(t, store, "one")
	_, _, err = Backup(t.Context(), dir, backup, boltstore.BackupOptions{})
	require.ErrorIs(t, err, boltstore.ErrLocked)
	require.ErrorContains(t, err, "stop it for a backup")

	server, err := control.Listen(Socket(dir), store)
	require.NoError(t, err)
	report, running, err := Backup(t.Context(), dir, backup, boltstore.BackupOptions{})
	require.NoError(t, err)
	require.True(t, running)
	require.Equal(t, uint64(1), report.Records)
	_, running, err = Backup(t.Context(), dir, backup, boltstore.BackupOptions{})
	require.True(t, running)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "--force")
	_, _, err = Backup(t.Context(), dir, File(dir), boltstore.BackupOptions{Overwrite: true})
	require.ErrorIs(t, err, boltstore.ErrLocked, "the state itself")
	require.NoError(t, server.Close())

	commit(t, store, "two")
	require.NoError(t, store.Close())
	report, running, err = Backup(t.Context(), dir, backup, boltstore.BackupOptions{Overwrite: true})
	require.NoError(t, err)
	require.False(t, running)
	require.Equal(t, uint64(2), report.Records)
	require.Equal(t, backup, report.Path)
	entries, err := os.ReadDir(to)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestShow(t *testing.T) {
	path := File(t.TempDir())
	store, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(t, err)
	commit(t, store, "one")
	require.NoError(t, store.Close())
	show := func() string {
		report, err := boltstore.Check(path)
		require.NoError(t, err)
		var out strings.Builder
		Show(&out, report)
		return out.String()
	}
	require.Regexp(t, path+`: sound
  size      \d+ bytes
  pages     \d of \d+ bytes, \d of them free
  commits   \d
  schema    version 1
  records   1
    peer             1, 8 bytes
$`, show())
	require.NoError(t, os.Truncate(path, 10_000))
	require.Regexp(t, path+`: file is damaged: it was cut off: it has 10000 bytes, and \d pages of \d+ bytes are in use \(and \d problems more\)
  size      10000 bytes
  pages     \d of \d+ bytes, 0 of them free
  commits   \d
What is wrong:
  it was cut off: [^\n]+
(  [^\n]+\n)+What to do:
  None of its records can be read\.
  Restore the latest backup\. No node starts on this file as it is; keep it until the node runs again\.
$`, show())
}
