package up

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// TestBackupOfRunningNode makes a backup while a node runs, loses the state, and runs a node on the backup.
func TestBackupOfRunningNode(t *testing.T) {
	dir := t.TempDir()
	backup := filepath.Join(dir, "monday.db")
	shown, stop := runUp(t, settings(dir), nil)
	key := field(t, shown.String(), "PublicKey")
	report, running, err := state.Backup(t.Context(), dir, backup, boltstore.BackupOptions{})
	require.NoError(t, err)
	require.True(t, running)
	require.NoError(t, report.Err())
	stop()
	require.NoFileExists(t, state.Socket(dir))

	require.NoError(t, os.Truncate(state.File(dir), 5000))
	s := settings(dir)
	require.ErrorIs(t, Run(t.Context(), Options{Settings: s}), boltstore.ErrDamaged)
	_, err = boltstore.Restore(t.Context(), backup, state.File(dir), boltstore.RestoreOptions{})
	require.NoError(t, err)
	s.NewPeer, s.Given = true, []string{"new-peer"}
	shown, stop = runUp(t, s, nil)
	require.Equal(t, key, field(t, shown.String(), "PublicKey"), "it is the same node")
	require.Contains(t, shown.String(), "peer-2", "with the peer that it had")
	stop()
}

// TestNoRoomForASocket runs a node in a directory whose name is too long for a socket.
func TestNoRoomForASocket(t *testing.T) {
	shown, stop := runUp(t, settings(filepath.Join(t.TempDir(), strings.Repeat("x", 120))), nil)
	require.Contains(t, shown.String(), "No backup can be made, nor the key changed, while this node runs: ")
	stop()
}
