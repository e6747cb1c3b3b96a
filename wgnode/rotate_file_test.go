package wgnode

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// disk is what a process that is killed leaves: the store and the key files.
type disk struct {
	records []Record
	key     []byte
	former  []byte // nil: there is no file
}

func diskOf(t testing.TB, store *faultyStore, path string) disk {
	t.Helper()
	key, err := os.ReadFile(path)
	require.NoError(t, err)
	former, err := os.ReadFile(formerFile(path))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	return disk{store.snapshot(), key, former}
}

// restore puts what was left in place.
func (d disk) restore(t testing.TB) (store *faultyStore, path string) {
	t.Helper()
	path, store = keyFile(t), newFaultyStore()
	require.NoError(t, os.WriteFile(path, d.key, 0o600))
	if d.former != nil {
		require.NoError(t, os.WriteFile(formerFile(path), d.former, 0o600))
	}
	var batch []Mutation
	for _, record := range d.records {
		batch = append(batch, put(record))
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	return store, path
}

// startOn starts a node on what is left, and returns its keys and what is left of it in turn.
func (d disk) startOn(t testing.TB) (now keys, left disk) {
	t.Helper()
	store, path := d.restore(t)
	r := newRig(t, store, inFile(path))
	require.NoError(t, r.Start(t.Context()))
	now = r.keysNow(t)
	require.NoError(t, r.Close())
	known, secret := store.keyInStore(t, now.key)
	require.False(t, secret)
	want := keyRecord{public: now.key.PublicKey()}
	if now.former != (wgtypes.Key{}) {
		want.former = formerKey{public: now.former.PublicKey(), until: known.former.until}
		require.NotZero(t, known.former.until)
	}
	require.Equal(t, want, known, "a rotation that was under way is decided")
	left = diskOf(t, store, path)
	require.Equal(t, now.former != (wgtypes.Key{}), left.former != nil, "the former key is on the disk as long as it is served")
	return now, left
}

// TestKilledInRotation looks at what is on the disk at every call that a rotation makes, before and after it, and while what it
// did is undone: a node starts on each, with the one key or the other.
func TestKilledInRotation(t *testing.T) {
	const calls = 4 // the store, the dataplane, the store, and one that is not made
	for failing := range calls {
		path := keyFile(t)
		r := startRig(t, inFile(path))
		r.add(t, PeerSpec{})
		former, next := r.keyNow(t), privateKey(t)
		var left []disk
		call := -1
		look := func() { left = append(left, diskOf(t, r.store, path)) }
		struck := func() error {
			look()
			if call++; call == failing {
				return errInjected
			}
			return nil
		}
		ours := func(batch []Mutation) bool {
			return slices.ContainsFunc(batch, func(m Mutation) bool { return m.Key == nodeKeyRecord })
		}
		r.store.set(
			func(batch []Mutation) error {
				if !ours(batch) {
					return nil
				}
				return struck()
			},
			func(batch []Mutation) error {
				if ours(batch) {
					look()
				}
				return nil
			})
		r.dataplane.setHook(func(_ context.Context, name string) error {
			if name != "SetKeys" {
				return nil
			}
			return struck()
		})
		_, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: next})
		r.store.set(nil, nil)
		r.dataplane.setHook(nil)
		look()
		require.GreaterOrEqual(t, len(left), 2)
		for _, d := range left {
			now, again := d.startOn(t)
			require.Contains(t, []keys{{former, wgtypes.Key{}}, {next, wgtypes.Key{}}}, now)
			twice, _ := again.startOn(t)
			require.Equal(t, now, twice)
		}
		want := next
		if failing < calls-1 {
			require.ErrorIs(t, err, errInjected)
			want = former
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, want, r.keyNow(t))
		last, _ := left[len(left)-1].startOn(t)
		require.Equal(t, want, last.key)
		_, err = r.RotateKey(t.Context(), KeyRotation{PrivateKey: next})
		require.NoError(t, err, "it can be done now")
		require.Equal(t, next, r.again(t, inFile(path)).keyNow(t))
	}
}

// TestFileFailsInRotation has the file's directory go away, for the rotation and for the way back.
func TestFileFailsInRotation(t *testing.T) {
	for _, at := range []string{"write", "restore"} {
		path := filepath.Join(t.TempDir(), "keys", "node.key")
		require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
		r := startRig(t, inFile(path))
		r.add(t, PeerSpec{})
		former := r.keyNow(t)
		away := filepath.Dir(path) + ".away"
		vanish := sync.OnceValue(func() error { return os.Rename(filepath.Dir(path), away) })
		if at == "write" {
			r.store.set(nil, func([]Mutation) error { return vanish() })
		} else {
			r.dataplane.setHook(func(_ context.Context, name string) error {
				if name == "SetKeys" {
					require.NoError(t, vanish())
					return errInjected
				}
				return nil
			})
		}
		_, err := r.RotateKey(t.Context(), KeyRotation{})
		require.ErrorIs(t, err, os.ErrNotExist)
		require.ErrorContains(t, err, "the next start may have the new key")
		r.store.set(nil, nil)
		r.dataplane.setHook(nil)
		require.Equal(t, former, r.keyNow(t))
		require.NoError(t, os.Rename(away, filepath.Dir(path)))
		has, err := keyfile.Read(path)
		require.NoError(t, err)
		require.Equal(t, at == "write", has == former)
		require.Equal(t, has, r.again(t, inFile(path)).keyNow(t))
	}
}

// TestFileCannotBeWritten has a key file that can only be read, as a secret that is mounted: here its name is so long that none
// fits beside it.
func TestFileCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("k", 250))
	private := privateKey(t)
	require.NoError(t, os.WriteFile(path, []byte(private.String()), 0o400))
	r := startRig(t, inFile(path))
	r.add(t, PeerSpec{})
	_, err := r.RotateKey(t.Context(), KeyRotation{})
	require.ErrorContains(t, err, "write private key: replace key file "+path)
	require.NotContains(t, err.Error(), "the next start")
	require.Equal(t, private, r.keyNow(t))
	known, _ := r.store.keyInStore(t, private)
	require.Equal(t, keyRecord{public: private.PublicKey()}, known)
	require.Equal(t, private, r.again(t, inFile(path)).keyNow(t))
}
