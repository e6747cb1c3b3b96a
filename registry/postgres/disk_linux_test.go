package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
)

// A disk that fills up on the server's side is an outage which says what it is, and which ends when there is room.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	testutil.RequireRoot(t)
	dir, err := os.MkdirTemp("", "waylume-disk-") //nolint:usetesting // t.TempDir is in one that others may not enter
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=300m,mode=0777"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	server := pgserver.StartConfig(t, pgserver.Config{Dir: dir, Settings: map[string]string{
		"max_wal_size": "64MB", "min_wal_size": "32MB", "wal_keep_size": "0",
	}})
	dsn := server.Database(t, "fleet", migrated)
	fleet := open(t, dsn)
	r := join(t, fleet, "fra-1")
	conn := sqlConn(t, dsn)

	fill(t, filepath.Join(dir, "ballast"))
	report := func(sequence int64) error {
		now := ask[time.Time](t, conn, "select now()")
		usages := make([]registry.PeerUsage, registry.MaxUsages)
		for i := range usages {
			k := key("k")
			k[30], k[29] = byte(i), byte(i>>8)
			usages[i] = registry.PeerUsage{PublicKey: k, Download: 1}
		}
		_, err := fleet.ReportUsage(t.Context(), registry.UsageReport{Server: r.Server, Sequence: sequence, From: now, To: now, Usages: usages})
		return err
	}
	err = report(1)
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, "No space left on device")
	require.NotErrorIs(t, err, registry.ErrInvalid)

	require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
	eventually(t, fleet)
	require.NoError(t, report(1), "the report that failed left nothing")
	require.Equal(t, registry.MaxUsages, ask[int](t, sqlConn(t, dsn), "select count(*) from vpn_usage"))
}

// fill takes all the room that is left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	for err = nil; err == nil; {
		_, err = f.Write(block[:1])
	}
	require.NoError(t, f.Close())
}
