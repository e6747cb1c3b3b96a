package boltkeys_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency/boltkeys"
)

func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	return cmd
}

// hold holds the file that it is given until its input ends.
func hold(args []string) error {
	s, err := boltkeys.Open(args[0], boltkeys.Options{})
	if err != nil {
		return err
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return s.Close()
}

func TestLocked(t *testing.T) {
	path := newPath(t)
	other := child("hold", path)
	in, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	_, err = io.ReadFull(out, make([]byte, len("held")))
	require.NoError(t, err)

	_, err = boltkeys.Open(path, boltkeys.Options{LockTimeout: time.Millisecond})
	require.ErrorIs(t, err, boltkeys.ErrLocked)
	require.EqualError(t, err, "boltkeys: open "+path+": file is in use: stop the other process that uses it, "+
		"or give this node a file of its own")
	require.NoError(t, in.Close())
	require.NoError(t, other.Wait())
	require.NoError(t, open(t, path).Close())
}

func TestFile(t *testing.T) {
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o644)) // as a kill may leave it
	s := open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Commit(ctx, idempotency.Change{}), boltkeys.ErrClosed)
	_, err = s.Answer(ctx, idempotency.ID{})
	require.ErrorIs(t, err, boltkeys.ErrClosed)

	_, err = boltkeys.Open(filepath.Join(path, "below"), boltkeys.Options{})
	require.Error(t, err)
	_, err = boltkeys.Open(filepath.Dir(path), boltkeys.Options{})
	require.ErrorIs(t, err, boltkeys.ErrForeign)
}

// What is something else's is refused, and stays what it was.
func TestForeign(t *testing.T) {
	text := newPath(t)
	require.NoError(t, os.WriteFile(text, []byte("a private key, say"), 0o600))
	other := newPath(t)
	db, err := bolt.Open(other, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("peers"))
		return err
	}))
	require.NoError(t, db.Close())
	for _, path := range []string{text, other} {
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = boltkeys.Open(path, boltkeys.Options{})
		require.ErrorIs(t, err, boltkeys.ErrForeign)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.NoFileExists(t, path+".damaged")
	}
}

func TestNewer(t *testing.T) {
	path := newPath(t)
	require.NoError(t, open(t, path).Close())
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("waylume-idempotency")).Put([]byte("version"), []byte{2})
	}))
	require.NoError(t, db.Close())
	_, err = boltkeys.Open(path, boltkeys.Options{})
	require.ErrorIs(t, err, boltkeys.ErrNewer)
	require.ErrorContains(t, err, "run the newer program")
}

// TestDamaged damages each page of a file in several ways: it is refused or read rightly, and opens once it is set aside.
func TestDamaged(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	var c idempotency.Change
	for i := range 200 {
		e := idempotency.Entry{ID: idempotency.ID{byte(i)}, Created: int64(i), Finished: true, Size: 600}
		c.Put = append(c.Put, idempotency.Put{Entry: e, Answer: bytes.Repeat([]byte{byte(i)}, 600)})
	}
	require.NoError(t, s.Commit(ctx, c))
	want := entries(t, s)
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	page := os.Getpagesize()
	refused, fine := 0, 0
	for at := 0; at < len(whole); at += page {
		if len(bytes.Trim(whole[at:at+page], "\x00")) == 0 {
			continue
		}
		for name, damage := range map[string]func([]byte){
			"zeros": func(b []byte) { clear(b) },
			"ones":  func(b []byte) { copy(b, bytes.Repeat([]byte{0xff}, len(b))) },
			"head":  func(b []byte) { copy(b[8:], bytes.Repeat([]byte{0xa5}, 8)) },
			"bit":   func(b []byte) { b[len(b)/64*63] ^= 4 },
		} {
			damaged := bytes.Clone(whole)
			damage(damaged[at : at+page])
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			s, err := boltkeys.Open(path, boltkeys.Options{Strict: true})
			if err == nil {
				fine++
				for id, e := range entries(t, s) {
					require.Equal(t, want[id], e, "%s at %d", name, at)
				}
				require.NoError(t, s.Close())
				continue
			}
			refused++
			require.ErrorContains(t, err, "boltkeys: open "+path)
			var log bytes.Buffer
			s, err = boltkeys.Open(path, boltkeys.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err, "%s at %d", name, at)
			require.Empty(t, entries(t, s))
			require.Equal(t, path+".damaged", s.SetAside())
			require.Contains(t, log.String(), "it is set aside, and all keys are as new")
			require.NoError(t, s.Close())
			aside, err := os.ReadFile(path + ".damaged")
			require.NoError(t, err)
			require.Len(t, aside, len(damaged))
			require.NoError(t, os.Remove(path+".damaged"))
		}
	}
	t.Logf("%d refused, %d read", refused, fine)
	require.Greater(t, refused, 20)
}

func FuzzEntry(f *testing.F) {
	e := idempotency.Entry{ID: idempotency.ID{1}, Salt: [32]byte{2}, Print: [32]byte{3}, Created: 4, Finished: true, Size: 5}
	b, err := e.AppendBinary(nil)
	require.NoError(f, err)
	f.Add(e.ID[:], b)
	f.Fuzz(func(t *testing.T, name, b []byte) {
		var id idempotency.ID
		copy(id[:], name)
		e, err := idempotency.UnmarshalEntry(id, b)
		if err != nil {
			require.ErrorIs(t, err, idempotency.ErrDamaged)
			return
		}
		again, err := e.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
