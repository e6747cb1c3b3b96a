package audit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// TestDiskFull fills a small disk while a segment grows, and while one begins, and makes room again.
func TestDiskFull(t *testing.T) {
	testutil.RequireRoot(t)
	disk := t.TempDir()
	require.NoError(t, unix.Mount("audit", disk, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=512k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	dir, ballast := filepath.Join(disk, "audit"), filepath.Join(disk, "ballast")
	l := open(t, dir, audit.Options{})
	for _, begins := range []bool{false, true} {
		file, err := os.Create(ballast)
		require.NoError(t, err)
		for err == nil {
			_, err = file.Write(make([]byte, 4096))
		}
		require.ErrorIs(t, err, unix.ENOSPC)
		require.NoError(t, file.Close())
		if begins {
			require.ErrorIs(t, l.Rotate(), unix.ENOSPC)
		}
		for err = nil; err == nil; { // the last page has room
			var c *audit.Change
			if c, err = l.Begin(t.Context(), audit.Entry{Operation: "reload"}); err == nil {
				_ = c.End(t.Context(), audit.Result{}) // written late, if it cannot be now
			}
		}
		require.ErrorIs(t, err, unix.ENOSPC)
		require.Equal(t, l.Head(), verify(t, dir, audit.VerifyOptions{}).Head)
		require.NoError(t, os.Remove(ballast))
		if begins {
			require.NoError(t, l.Rotate())
		}
		require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "room again"}))
		require.Empty(t, verify(t, dir, audit.VerifyOptions{}).Unknown)
	}
	require.NoError(t, l.Close())
	verify(t, dir, audit.VerifyOptions{})
}

// TestReadOnlyDisk has the disk become read-only while the log is open.
func TestReadOnlyDisk(t *testing.T) {
	testutil.RequireRoot(t)
	disk := t.TempDir()
	require.NoError(t, unix.Mount("audit", disk, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=512k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	require.NoError(t, open(t, disk, audit.Options{}).Close())
	require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := audit.Open(disk, audit.Options{})
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorContains(t, err, disk)
	verify(t, disk, audit.VerifyOptions{})
}
