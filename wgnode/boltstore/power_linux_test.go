package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// disk is what of a file a disk has. The system shows a process what it wrote; the disk has it for sure when a sync succeeded.
// When one fails, each sector that was written since is on the disk, or is not and will never be, as Linux takes it for
// written, or is still to be written.
type disk struct {
	file  *os.File // as processes see it
	inode uint64
	data  []byte // what is on the disk
	dirty map[int64]bool
	rng   *rand.Rand
	// fail says whether a sync is to fail.
	fail func() bool
	// cut is told, whenever the power might fail, what would be on the disk.
	cut func(image []byte)
}

func newDisk(path string, rng *rand.Rand) (*disk, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, err
	}
	d := &disk{file: file, inode: st.Ino, dirty: make(map[int64]bool), rng: rng}
	d.data, err = os.ReadFile(path)
	return d, err
}

// ask follows a process's system calls.
func (d *disk) ask(c call) unix.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(int(c.args[0]), &st); err != nil || st.Ino != d.inode {
		return 0
	}
	if c.number == unix.SYS_PWRITE64 {
		for at := c.args[3] / sector; at*sector < c.args[3]+c.args[2]; at++ {
			d.dirty[int64(at)] = true
		}
		return 0
	}
	d.cut(d.after(func() bool { return d.rng.IntN(2) == 0 }))
	if d.fail() {
		left := make(map[int64]bool)
		d.data = d.after(func() bool { return d.rng.IntN(2) == 0 })
		for at := range d.dirty {
			if d.rng.IntN(3) == 0 {
				left[at] = true
			}
		}
		d.dirty = left
		return unix.EIO
	}
	d.data = d.after(func() bool { return true })
	clear(d.dirty)
	return 0
}

// after is what the disk has when it has written some of the sectors.
func (d *disk) after(written func() bool) []byte {
	info, err := d.file.Stat()
	if err != nil {
		panic(err)
	}
	image := make([]byte, info.Size())
	copy(image, d.data)
	for at := range d.dirty {
		if end := min((at+1)*sector, info.Size()); written() && at*sector < end {
			if _, err := d.file.ReadAt(image[at*sector:end], at*sector); err != nil {
				panic(err)
			}
		}
	}
	return image
}

func syncCalls() []uint32 {
	return []uint32{unix.SYS_PWRITE64, unix.SYS_FDATASYNC, unix.SYS_FSYNC}
}

// live commits numbers while every third sync fails, until there are as many images of what would be left without power as it
// is told. Each is named after its number and the last commit that was acknowledged before.
func live(args []string) error {
	path, dir := args[0], args[1]
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	images, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	store, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	d, err := newDisk(path, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		return err
	}
	var acknowledged, cuts atomic.Int64
	d.fail = func() bool { return d.rng.IntN(3) == 0 }
	d.cut = func(image []byte) {
		name := filepath.Join(dir, fmt.Sprintf("%d-%d", cuts.Add(1), acknowledged.Load()))
		data := bytes.TrimRight(image, "\x00")
		if err := errors.Join(os.WriteFile(name, data, 0o600), os.Truncate(name, int64(len(image)))); err != nil {
			panic(err)
		}
	}
	if err := supervise(d.ask, syncCalls()...); err != nil {
		return err
	}
	failed := 0
	for int(cuts.Load()) < images {
		err := store.Commit(context.Background(), numbered(int(acknowledged.Load())+1))
		switch {
		case err == nil:
			acknowledged.Add(1)
		case isSyncError(err):
			failed++
		default:
			return err
		}
	}
	fmt.Println(acknowledged.Load(), failed)
	return nil
}

// A power failure at any moment, on a disk that fails to sync every third time, leaves what was acknowledged, and of the commit
// that was under way all or nothing.
func TestPowerFailure(t *testing.T) {
	t.Parallel()
	requireSeccomp(t)
	runs, images := 4, 150
	if underRace {
		runs, images = 1, 100
	}
	failed, acknowledged := 0, 0
	for seed := range runs {
		path, dir := newPath(t), t.TempDir()
		cmd := child("live", path, dir, fmt.Sprint(seed), fmt.Sprint(images))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		var a, f int
		_, err = fmt.Sscan(string(out), &a, &f)
		require.NoError(t, err)
		acknowledged, failed = acknowledged+a, failed+f

		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(entries), images)
		for _, entry := range entries {
			_, number, _ := strings.Cut(entry.Name(), "-")
			last, err := strconv.Atoi(number)
			require.NoError(t, err)
			store, err := boltstore.Open(filepath.Join(dir, entry.Name()), boltstore.Options{})
			require.NoError(t, err, "seed %d", seed)
			got, err := storetest.Contents(t.Context(), store)
			require.NoError(t, err, "seed %d, image %s", seed, entry.Name())
			require.NoError(t, store.Close())
			if got[storetest.ID{Kind: wgnode.RecordNode, Key: "last"}] == strconv.Itoa(last+1) {
				last++
			}
			require.Equal(t, afterNumber(last), got, "seed %d, image %s", seed, entry.Name())
		}
	}
	require.Positive(t, failed)
	t.Logf("%d power failures over %d commits acknowledged and %d that failed", runs*images, acknowledged, failed)
}

// isSyncError says whether a commit failed as it should. Where bbolt makes a file grow, it keeps the cause as text alone.
func isSyncError(err error) bool {
	var file *boltstore.FileError
	return errors.As(err, &file) && file.Op == "commit" && strings.Contains(err.Error(), unix.EIO.Error())
}

// failing opens a store, commits to it while no sync succeeds, and then while all do.
func failing(args []string) error {
	ctx := context.Background()
	store, err := boltstore.Open(args[0], boltstore.Options{})
	if err != nil {
		return err
	}
	if err := store.Commit(ctx, numbered(1)); err != nil {
		return err
	}
	var fails atomic.Bool
	fails.Store(true)
	ask := func(c call) unix.Errno {
		if fails.Load() && c.number != unix.SYS_PWRITE64 {
			return unix.EIO
		}
		return 0
	}
	if err := supervise(ask, syncCalls()...); err != nil {
		return err
	}
	for range 3 {
		err := store.Commit(ctx, numbered(2))
		if !isSyncError(err) {
			return fmt.Errorf("the commit ended with %w", err)
		}
		got, err := storetest.Contents(ctx, store)
		if err != nil {
			return err
		}
		if len(got) != len(afterNumber(1)) && len(got) != len(afterNumber(2)) {
			return fmt.Errorf("it has %d records", len(got))
		}
	}
	fails.Store(false)
	if err := errors.Join(store.Commit(ctx, numbered(2)), store.Commit(ctx, numbered(3))); err != nil {
		return err
	}
	return store.Close()
}

// A commit whose sync fails says so; when syncs succeed again, so do commits, and they are there.
func TestFailingSync(t *testing.T) {
	t.Parallel()
	requireSeccomp(t)
	path := newPath(t)
	out, err := child("failing", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	got, err := storetest.Contents(t.Context(), open(t, path))
	require.NoError(t, err)
	require.Equal(t, afterNumber(3), got)
}

// requireSeccomp ends the test where no process may supervise its own system calls.
func requireSeccomp(t *testing.T) {
	t.Helper()
	if out, err := child("supervised").CombinedOutput(); err != nil {
		testutil.Require(t, fmt.Errorf("needs seccomp_unotify(2): %s", bytes.TrimSpace(out)))
	}
}

// supervised tries whether a sync can be made to fail.
func supervised([]string) error {
	file, err := os.CreateTemp("", "boltstore-test-")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	if err := supervise(func(call) unix.Errno { return unix.EIO }, unix.SYS_FSYNC); err != nil {
		return err
	}
	if err := file.Sync(); !errors.Is(err, unix.EIO) {
		return fmt.Errorf("a sync that should fail ended with: %w", err)
	}
	return nil
}
