package boltstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// childVariable has the test binary do, as a process of its own, what one of children is named after.
const childVariable = "BOLTSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children()[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func children() map[string]func(args []string) error {
	all := map[string]func([]string) error{"hold": hold, "write": writeOn}
	maps.Copy(all, childrenHere())
	return all
}

// child is a process that does what one of children does.
func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	return cmd
}

// hold holds the file that it is given until its input ends.
func hold(args []string) error {
	store, err := boltstore.Open(args[0], boltstore.Options{})
	if err != nil {
		return err
	}
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, store.Close())
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "state.db") }

func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	store, err := boltstore.Open(path, boltstore.Options{LockTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func refuse(t *testing.T, path string, want error) *boltstore.FileError {
	t.Helper()
	_, err := boltstore.Open(path, boltstore.Options{LockTimeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, want)
	var file *boltstore.FileError
	require.ErrorAs(t, err, &file)
	require.Equal(t, path, file.Path)
	require.Contains(t, err.Error(), path)
	return file
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such file modes")
	}
	path := newPath(t)
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	require.NoError(t, open(t, path).Close())
	require.Equal(t, os.FileMode(0o600), mode())
	require.NoError(t, os.Chmod(path, 0o644))
	open(t, path)
	require.Equal(t, os.FileMode(0o600), mode())
}

func TestFileInUseByThisProcess(t *testing.T) {
	path := newPath(t)
	open(t, path)
	refuse(t, path, boltstore.ErrLocked)
}

func TestFileInUseByAnotherProcess(t *testing.T) {
	path := newPath(t)
	cmd := child("hold", path)
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	file := refuse(t, path, boltstore.ErrLocked)
	require.Contains(t, file.Error(), "stop the other process")
	if runtime.GOOS == "linux" {
		require.Equal(t, cmd.Process.Pid, file.Holder.PID)
		require.Contains(t, file.Error(), fmt.Sprintf("in use by process %d (boltstore.test)", cmd.Process.Pid))
	}

	require.NoError(t, input.Close())
	require.NoError(t, cmd.Wait())
	open(t, path)
}

func TestClosedStore(t *testing.T) {
	store := open(t, newPath(t))
	require.NoError(t, store.Close())
	require.NoError(t, store.Close())
	require.ErrorIs(t, store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordPeer, "p", "1")}), boltstore.ErrClosed)
	_, err := storetest.Contents(t.Context(), store)
	require.ErrorIs(t, err, boltstore.ErrClosed)
}

func TestMissingDirectory(t *testing.T) {
	refuse(t, filepath.Join(t.TempDir(), "absent", "state.db"), os.ErrNotExist)
}
