package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		require.Equal(t, exitFailed, run(t.Context(), append(args, flags...), system{stdout: &stdout, stderr: &stderr, getenv: getenv}))
		require.Contains(t, stderr.String(), "read key file "+names[i]+": it holds no private key: it is empty")
	}
}

// A new key wants a word on those who know the former one, and a node that runs.
func TestRotateKeyCommand(t *testing.T) {
	for flags, says := range map[string]string{
		"":                               "--overlap 7d lets them connect for that long, and --now cuts every device off",
		"--now --overlap 1h":             "exclude each other",
		"--end-overlap --now":            "exclude each other",
		"--overlap= --end-overlap":       "exclude each other",
		"--overlap=":                     `--overlap: "" is not a duration: give one as`,
		"--overlap 1w":                   `--overlap: "1w" is not a duration: give one as`,
		"--overlap 0":                    "--overlap: is 0: give 1s to 90d, or --now for none",
		"--overlap 91d":                  "--overlap: is 91d: give 1s to 90d",
		"--overlap -5m":                  "--overlap: is -5m: give 1s to 90d",
		"--now --end-overlap --overlap=": "exclude each other",
	} {
		status, _, stderr := command(t.Context(), append([]string{"rotate-key", "--state", t.TempDir()}, strings.Fields(flags)...)...)
		require.Equal(t, exitUsage, status, flags)
		require.Contains(t, stderr, says, flags)
	}
	for _, flags := range []string{"--now", "--overlap 7d", "--end-overlap"} {
		status, _, stderr := command(t.Context(), append([]string{"rotate-key", "--state", t.TempDir()}, strings.Fields(flags)...)...)
		require.Equal(t, exitFailed, status)
		require.Contains(t, stderr, "no node runs there")
		require.Contains(t, stderr, "Start the node with 'waylumed up'")
	}
}

// rotating is a node that says which keys it has.
type rotating struct {
	control.Source
	ended string
}

var overlapEnds = time.Date(2026, 11, 28, 7, 30, 0, 0, time.Local)

func (r rotating) RotateKey(_ context.Context, overlap time.Duration) (control.Keys, error) {
	keys := control.Keys{Public: "NEW", Former: "OLD"}
	if overlap == time.Hour {
		return control.Keys{}, fmt.Errorf("%w: it ends soon", wgnode.ErrKeyOverlap)
	}
	if overlap == 7*24*time.Hour {
		keys.OverlapEnds = overlapEnds
	}
	return keys, nil
}

func (r rotating) EndKeyOverlap(context.Context) (control.Keys, error) {
	return control.Keys{Public: "NEW", Former: r.ended}, nil
}

// What to do next, in words.
func TestRotateKeySays(t *testing.T) {
	for _, ended := range []string{"", "OLD"} {
		dir := t.TempDir()
		server, err := control.Listen(state.Socket(dir), rotating{ended: ended})
		require.NoError(t, err)
		says := func(flags ...string) string {
			t.Helper()
			status, stdout, stderr := command(t.Context(), append([]string{"rotate-key", "--state", dir}, flags...)...)
			require.Equal(t, exitOK, status, stderr)
			return stdout
		}
		now := says("--now")
		require.Contains(t, now, "The node's public key is now NEW\nIt was OLD\n")
		require.Contains(t, now, "put the new one as PublicKey under [Peer]. Until then it cannot connect.\n")
		require.Contains(t, now, "are of no use.\n")
		overlap := says("--overlap", "7d")
		require.Contains(t, overlap, "under [Peer]. Until 2026-11-28 07:30:00\nthose connect, too, that have the former one")
		require.Contains(t, overlap, "are of no use after that.\n")
		status, _, stderr := command(t.Context(), "rotate-key", "--state", dir, "--overlap", "1h")
		require.Equal(t, exitFailed, status)
		require.Contains(t, stderr, "it ends soon\nHere these are 'waylumed rotate-key --end-overlap', and --now")
		if end := says("--end-overlap"); ended == "" {
			require.Contains(t, end, "There is no overlap")
		} else {
			require.Contains(t, end, "The overlap is over.")
			require.Contains(t, end, "the former one, OLD, cannot")
		}
		require.NoError(t, server.Close())
	}
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
