package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// private is a child that may mount what nobody else sees.
func private(name string, args ...string) *exec.Cmd {
	cmd := child(name, args...)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		return cmd
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}

// requireMounts ends the test where no process may mount a disk of its own.
func requireMounts(t *testing.T) {
	t.Helper()
	if out, err := private("mounts", t.TempDir()).CombinedOutput(); err != nil {
		testutil.Require(t, fmt.Errorf("needs a namespace of mounts: %w: %s", err, out))
	}
}

// smallDisk mounts a disk in memory.
func smallDisk(dir string, bytes int) error {
	return unix.Mount("waylume-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
}

func mounts(args []string) error { return smallDisk(args[0], 1<<20) }

// full fills a disk with a store's own commits, and then frees some of it.
func full(args []string) error {
	ctx, dir := context.Background(), args[0]
	if err := smallDisk(dir, 1<<20); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 400<<10), 0o600); err != nil {
		return err
	}
	path := filepath.Join(dir, "state.db")
	store, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	value, last := strings.Repeat("v", 10_000), 0
	grow := func() error {
		return store.Commit(ctx, []wgnode.Mutation{storetest.Put(wgnode.RecordPeer, fmt.Sprint(last+1), value)})
	}
	holds := func(store wgnode.Store) error {
		got, err := storetest.Contents(ctx, store)
		if err == nil && len(got) != last {
			err = fmt.Errorf("it has %d records, and %d were acknowledged", len(got), last)
		}
		return err
	}
	for failures := 0; failures < 3; { // after one there may be room for one more in pages that are free
		err := grow()
		if err == nil {
			if last++; last == 1000 {
				return errors.New("the disk is never full")
			}
			continue
		}
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room on its disk") {
			return fmt.Errorf("a full disk: %w", err)
		}
		if err := holds(store); err != nil {
			return err
		}
		failures++
	}
	// Neither a backup nor a new state is left by halves.
	if _, err := store.Backup(ctx, filepath.Join(dir, "backup.db"), boltstore.BackupOptions{}); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("a backup onto a full disk: %w", err)
	}
	if _, err := boltstore.Open(filepath.Join(dir, "other.db"), boltstore.Options{}); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("a new state on a full disk: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		return fmt.Errorf("left: %v %w", entries, err)
	}
	if err := store.Close(); err != nil {
		return err
	}
	if store, err = boltstore.Open(path, boltstore.Options{}); err != nil {
		return fmt.Errorf("on the full disk: %w", err)
	}
	if err := errors.Join(holds(store), os.Remove(ballast)); err != nil {
		return err
	}
	if err := grow(); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	last++
	if err := errors.Join(holds(store), store.Close()); err != nil {
		return err
	}
	fmt.Printf("%d commits", last)
	return nil
}

// readOnly opens a state on a disk that is read-only.
func readOnly(args []string) error {
	ctx, dir := context.Background(), args[0]
	if err := smallDisk(dir, 1<<20); err != nil {
		return err
	}
	path := filepath.Join(dir, "state.db")
	store, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(store.Commit(ctx, numbered(1)), store.Close()); err != nil {
		return err
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, name := range []string{path, filepath.Join(dir, "other.db")} {
		_, err := boltstore.Open(name, boltstore.Options{})
		if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "not read-only") {
			return fmt.Errorf("%s on a read-only disk: %w", name, err)
		}
	}
	// What is there can be read, and saved to another disk.
	report, err := boltstore.Check(path)
	if err := errors.Join(err, report.Err()); err != nil {
		return err
	}
	_, err = boltstore.BackupFile(ctx, path, args[1], boltstore.BackupOptions{})
	return err
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	requireMounts(t)
	out, err := private("full", t.TempDir()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	requireMounts(t)
	backup := newPath(t)
	out, err := private("read-only", t.TempDir(), backup).CombinedOutput()
	require.NoError(t, err, "%s", out)
	got, err := storetest.Contents(t.Context(), open(t, backup))
	require.NoError(t, err)
	require.Equal(t, afterNumber(1), got)
}

// unprivileged tries, without rights of its own, to use files that it may not.
func unprivileged(args []string) error {
	for _, path := range args {
		if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// A file that may not be written, one that may not be read, and a directory that may not be written to are refused, and are
// what they were.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "boltstore-test-") //nolint:usetesting // t.TempDir is in one that others may not enter
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	require.NoError(t, os.Chmod(dir, 0o755))
	readable, hidden := filepath.Join(dir, "readable.db"), filepath.Join(dir, "hidden.db")
	for _, path := range []string{readable, hidden} {
		store, err := boltstore.Open(path, boltstore.Options{})
		require.NoError(t, err)
		require.NoError(t, store.Close())
	}
	program := filepath.Join(dir, "test") // the test's own may be where others cannot enter
	data, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, data, 0o600))
	require.NoError(t, os.Chmod(program, 0o555))
	require.NoError(t, os.Chmod(hidden, 0))
	require.NoError(t, os.Chmod(readable, 0o444))

	cmd := child("unprivileged", readable, hidden, filepath.Join(dir, "new.db"))
	cmd.Path = program
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else {
		require.NoError(t, os.Chmod(dir, 0o555))
		defer func() { require.NoError(t, os.Chmod(dir, 0o755)) }()
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
	info, err := os.Stat(readable)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o444), info.Mode())
}
