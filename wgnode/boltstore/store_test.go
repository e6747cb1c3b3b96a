package boltstore_test

import (
	"bufio"
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
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// holdEnv tells the test binary to be the second process: to hold the file that it names until its input ends.
const holdEnv = "BOLTSTORE_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path))
	}
	goleak.VerifyTestMain(m)
}

func hold(path string) int {
	store, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return 1
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil || store.Close() != nil {
		return 1
	}
	return 0
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "state.db") }

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
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), holdEnv+"="+path)
	input, err := child.StdinPipe()
	require.NoError(t, err)
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	file := refuse(t, path, boltstore.ErrLocked)
	require.Contains(t, file.Error(), "stop the other process")

	require.NoError(t, input.Close())
	require.NoError(t, child.Wait())
	open(t, path)
}

func TestClosedStore(t *testing.T) {
	store := open(t, newPath(t))
	require.NoError(t, store.Close())
	require.NoError(t, store.Close())
	require.ErrorIs(t, store.Commit(t.Context(), []wgnode.Mutation{put(wgnode.RecordPeer, "p", "1")}), boltstore.ErrClosed)
	_, err := contents(store)
	require.ErrorIs(t, err, boltstore.ErrClosed)
}

func TestMissingDirectory(t *testing.T) {
	refuse(t, filepath.Join(t.TempDir(), "absent", "state.db"), os.ErrNotExist)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := newPath(t)
	require.NoError(t, open(t, path).Close())
	setSchema(t, path, "2")
	file := refuse(t, path, boltstore.ErrNewer)
	require.Contains(t, file.Error(), "newer program")
	setSchema(t, path, "one")
	refuse(t, path, boltstore.ErrDamaged)
	setSchema(t, path, "1")
	open(t, path)
}

func setSchema(t *testing.T, path, version string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte(version))
	}))
	require.NoError(t, db.Close())
}

// TestForeignFilesAreRefused covers files that are there and hold no state: none is taken for an empty store.
func TestForeignFilesAreRefused(t *testing.T) {
	t.Run("empty", func(t *testing.T) {
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		refuse(t, path, boltstore.ErrForeign)
		refuse(t, path, boltstore.ErrForeign)
	})
	t.Run("text", func(t *testing.T) {
		path := newPath(t)
		require.NoError(t, os.WriteFile(path, make([]byte, 1<<16), 0o600))
		refuse(t, path, boltstore.ErrDamaged)
	})
	t.Run("another bbolt file", func(t *testing.T) {
		path := newPath(t)
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		refuse(t, path, boltstore.ErrForeign)
	})
}

// TestDamagedFiles cuts a file at lengths across it, and overwrites each of its pages: whatever is done to it, the store
// yields what was committed, or refuses. It never panics, and never yields something else. Only when one of the two root
// pages is broken, bbolt takes that for a commit that was cut off, and yields what the commit before left.
func TestDamagedFiles(t *testing.T) {
	path := newPath(t)
	store := open(t, path)
	var batch []wgnode.Mutation
	for i := range 400 {
		batch = append(batch, put(wgnode.RecordPeer, string(rune('a'+i%26))+time.Duration(i).String(), "0123456789abcdef0123456789abcdef"))
	}
	require.NoError(t, store.Commit(t.Context(), batch[:len(batch)-1]))
	before, err := contents(store)
	require.NoError(t, err)
	require.NoError(t, store.Commit(t.Context(), batch[len(batch)-1:]))
	want, err := contents(store)
	require.NoError(t, err)
	require.NoError(t, store.Close())
	sound, err := os.ReadFile(path)
	require.NoError(t, err)

	try := func(t *testing.T, data []byte) (survived bool) {
		t.Helper()
		path := newPath(t) // a damaged file may stay locked in the process that found it out
		require.NoError(t, os.WriteFile(path, data, 0o600))
		store, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Second})
		if err != nil {
			return false
		}
		defer store.Close()
		got, err := contents(store)
		if err != nil {
			return false
		}
		if !maps.Equal(before, got) {
			require.Equal(t, want, got)
		}
		return maps.Equal(want, got)
	}
	require.True(t, try(t, sound))
	page := os.Getpagesize()
	t.Run("cut", func(t *testing.T) {
		refused := 0
		for size := 0; size < len(sound); size += page / 2 {
			if !try(t, sound[:size]) {
				refused++
			}
		}
		require.Positive(t, refused)
	})
	t.Run("overwritten", func(t *testing.T) {
		refused := 0
		for at := 0; at < len(sound); at += page {
			data := append([]byte(nil), sound...)
			for i := range data[at : at+page] {
				data[at+i] ^= 0xa5
			}
			if !try(t, data) {
				refused++
			}
		}
		require.Positive(t, refused)
	})
}
