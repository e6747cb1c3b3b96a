package usagelog_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/usagelog"
)

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, file.Close())
}

// TestDiskFull fills a small disk while a segment grows, and while one begins.
func TestDiskFull(t *testing.T) {
	testutil.RequireRoot(t)
	disk := t.TempDir()
	require.NoError(t, unix.Mount("usagelog", disk, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=512k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	dir, ballast := filepath.Join(disk, "usage"), filepath.Join(disk, "ballast")

	l, err := usagelog.Open(dir, usagelog.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	n, at := uint64(0), noon
	tryAppend := func() error {
		n++
		at = at.Add(time.Minute)
		var readings []usagelog.Reading
		for i := range uint64(500) {
			readings = append(readings, reading(peer(i+1), n<<20, n))
		}
		return l.Append(t.Context(), at, readings)
	}
	check := func(kept uint64) {
		t.Helper()
		for _, asked := range []asker{l, reader(t, dir)} {
			for s, c := range used(t, asked, time.Time{}, noon.AddDate(1, 0, 0)) {
				require.Equal(t, usagelog.Counters{Download: (kept - 1) << 20, Upload: kept - 1}, c, s.String())
			}
		}
	}
	for range 5 {
		require.NoError(t, tryAppend())
	}
	check(5)
	for _, nextDay := range []bool{false, true} {
		fill(t, ballast)
		var (
			kept uint64
			path string
			size int64
			err  error
		)
		for err == nil {
			kept = n // the last page may have room
			if nextDay {
				at = at.AddDate(0, 0, 1)
			}
			var bad error
			path, size, bad = lastSegment(dir)
			require.NoError(t, bad)
			err = tryAppend()
		}
		require.ErrorIs(t, err, unix.ENOSPC)
		require.ErrorContains(t, err, dir)
		check(kept)
		require.ErrorIs(t, tryAppend(), unix.ENOSPC, "still")
		check(kept)
		after, left, bad := lastSegment(dir)
		require.NoError(t, bad)
		require.Equal(t, path, after)
		require.Equal(t, size, left, "nothing is left of what failed")
		halves, bad := filepath.Glob(filepath.Join(dir, "*.new"))
		require.NoError(t, bad)
		require.Empty(t, halves)
		require.NoError(t, os.Remove(ballast))
		require.NoError(t, tryAppend())
		check(n)
		require.NoError(t, l.Close())
		l, err = usagelog.Open(dir, usagelog.Options{})
		require.NoError(t, err)
		require.Empty(t, l.Damage())
		check(n)
	}
}

// TestReadOnlyDisk finds that nothing can be written, and that what is there can be read.
func TestReadOnlyDisk(t *testing.T) {
	testutil.RequireRoot(t)
	disk := t.TempDir()
	require.NoError(t, unix.Mount("usagelog", disk, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=512k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	l, err := usagelog.Open(disk, usagelog.Options{})
	require.NoError(t, err)
	appendAll(t, l, noon)
	appendAll(t, l, noon.Add(time.Hour), reading(peer(1), 5, 5))
	require.NoError(t, l.Close())
	require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))

	_, err = usagelog.Open(disk, usagelog.Options{})
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorContains(t, err, disk)
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{peer(1): {Download: 5, Upload: 5}},
		used(t, reader(t, disk), noon, noon.Add(time.Hour)))
}
