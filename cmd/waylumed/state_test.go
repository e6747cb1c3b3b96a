package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// The environment names the key's file, and a flag another.
func TestKeyFileNames(t *testing.T) {
	names := [2]string{filepath.Join(t.TempDir(), "env.key"), filepath.Join(t.TempDir(), "flag.key")}
	for _, name := range names {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
	getenv := func(name string) string { return map[string]string{"WAYLUME_PRIVATE_KEY_FILE": names[0]}[name] }
	args := []string{"up", "--state", t.TempDir(), "--dataplane", "userspace", "--listen-port", "0"}
	for i, flags := range [][]string{{}, {"--private-key-file", names[1]}} {
		var stdout, stderr strings.Builder
		require.Equal(t, exitFailed, run(t.Context(), append(args, flags...), system{&stdout, &stderr, getenv}))
		require.Contains(t, stderr.String(), "read key file "+names[i]+": it holds no private key: it is empty")
	}
}

// What cuts everybody off wants a flag, and a node that runs.
func TestRotateKeyCommand(t *testing.T) {
	status, _, stderr := command(t.Context(), "rotate-key", "--state", t.TempDir())
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "say --now if that is meant")
	status, _, stderr = command(t.Context(), "rotate-key", "--now", "--state", t.TempDir())
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "no node runs there")
	require.Contains(t, stderr, "Start the node with 'waylumed up'")
}

// A backup of a state in use, and then a disaster, from the command line.
func TestStateCommands(t *testing.T) {
	dir, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	file := state.File(dir)
	store, err := boltstore.Open(file, boltstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordPeer, "one", "value")}))
	server, err := control.Listen(state.Socket(dir), store)
	require.NoError(t, err)

	status, stdout, stderr := command(t.Context(), "backup", "--state", dir, backup)
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, backup+": sound\n")
	require.Contains(t, stdout, "A backup of the state in "+dir+", from the node that runs.")
	status, _, stderr = command(t.Context(), "backup", "--state", dir, backup)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "say --force")
	status, _, stderr = command(t.Context(), "state", "check", file)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "Make a backup with 'waylumed backup', and check that")
	status, _, stderr = command(t.Context(), "state", "restore", backup, file)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "file is in use")

	require.NoError(t, server.Close())
	require.NoError(t, store.Close())
	status, stdout, stderr = command(t.Context(), "backup", "--force", "--state", dir, backup)
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "from its file, which no node uses.")
	status, stdout, stderr = command(t.Context(), "state", "check", file)
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, file+": sound\n")

	require.NoError(t, os.Truncate(file, 0))
	status, stdout, _ = command(t.Context(), "state", "check", file)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "file is damaged: it is empty")
	status, _, stderr = command(t.Context(), "state", "restore", file, backup)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "restore "+file+": file is damaged: it is empty")
	status, stdout, stderr = command(t.Context(), "state", "restore", backup, file)
	require.Equal(t, exitOK, status, stderr)
	_, aside, found := strings.Cut(stdout, "The file that was there is now ")
	require.True(t, found)
	info, err := os.Stat(strings.TrimSpace(aside))
	require.NoError(t, err)
	require.Zero(t, info.Size())

	store, err = boltstore.Open(file, boltstore.Options{})
	require.NoError(t, err)
	got, err := storetest.Contents(t.Context(), store)
	require.NoError(t, err)
	require.Equal(t, map[storetest.ID]string{{Kind: wgnode.RecordPeer, Key: "one"}: "value"}, got)
	require.NoError(t, store.Close())
}

func TestBackupOfNothing(t *testing.T) {
	to := t.TempDir()
	status, _, stderr := command(t.Context(), "backup", "--state", t.TempDir(), filepath.Join(to, "x"))
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "no such file")
	entries, err := os.ReadDir(to)
	require.NoError(t, err)
	require.Empty(t, entries)
}
