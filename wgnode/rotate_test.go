package wgnode

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

var _ KeyChanger = (*fakeDataplane)(nil)

func (f *fakeDataplane) SetPrivateKey(ctx context.Context, key wgtypes.Key) error {
	if err := f.enter(ctx, "SetPrivateKey"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cfg.PrivateKey = key
	return nil
}

// keyNow is the private key in force, after a look that node and dataplane agree on it.
func (r *rig) keyNow(t testing.TB) wgtypes.Key {
	t.Helper()
	r.dataplane.mu.Lock()
	defer r.dataplane.mu.Unlock()
	public, private := r.identity()
	require.Equal(t, public, r.dataplane.cfg.PrivateKey.PublicKey())
	require.Equal(t, r.dataplane.cfg.PrivateKey[:], private.Bytes())
	return r.dataplane.cfg.PrivateKey
}

func TestRotateKey(t *testing.T) {
	path := keyFile(t)
	for name, adjust := range map[string]func(*Config){"in store": func(*Config) {}, "in file": inFile(path)} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, adjust)
			peer := r.add(t, PeerSpec{})
			first := r.keyNow(t)
			r.drain()

			rotated, err := r.RotateKey(t.Context(), KeyRotation{})
			require.NoError(t, err)
			second := r.keyNow(t)
			require.Equal(t, RotatedKey{PublicKey: second.PublicKey(), FormerKey: first.PublicKey()}, rotated)
			require.NotEqual(t, first, second)
			events := r.drain()
			require.Len(t, events, 1)
			require.Equal(t, NodeRekeyed, events[0].Kind)
			require.Equal(t, rotated.PublicKey, events[0].NodeKey)
			require.Equal(t, rotated.FormerKey, events[0].FormerNodeKey)
			require.Contains(t, events[0].String(), "node-rekeyed node_key="+second.PublicKey().String()+" former_node_key="+first.PublicKey().String())
			client, err := r.ClientConfig(peer.PublicKey, wgtypes.Key{})
			require.NoError(t, err)
			require.Equal(t, second.PublicKey(), client.ServerKey)
			status, err := r.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, second.PublicKey(), status.PublicKey)
			_, secret := r.store.keyInStore(t, first)
			require.False(t, secret, "the former key is kept")
			r.sound(t)

			third := privateKey(t)
			for range 2 {
				rotated, err = r.RotateKey(t.Context(), KeyRotation{PrivateKey: third})
				require.NoError(t, err)
				require.Equal(t, third.PublicKey(), rotated.PublicKey)
			}
			require.Equal(t, rotated.PublicKey, rotated.FormerKey, "the second time nothing changes")
			require.Equal(t, []EventKind{NodeRekeyed}, r.kinds())
			require.Equal(t, third, r.keyNow(t))
			next := r.again(t, adjust)
			require.Equal(t, third, next.keyNow(t))
			if name == "in file" {
				got, err := keyfile.Read(path)
				require.NoError(t, err)
				require.Equal(t, third, got)
				known, _ := next.store.keyInStore(t, third)
				require.Equal(t, keyRecord{public: third.PublicKey()}, known)
			}
		})
	}
}

func TestRotationRefused(t *testing.T) {
	path := keyFile(t)
	r := startRig(t, inFile(path))
	first := r.keyNow(t)
	peers := privateKey(t)
	r.add(t, PeerSpec{PublicKey: peers.PublicKey()})
	_, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: peers})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "wgnode: rotate key: invalid key rotation: PrivateKey: is a peer's")
	second := privateKey(t)
	_, err = r.RotateKey(t.Context(), KeyRotation{PrivateKey: second})
	require.NoError(t, err)
	_, err = r.AddPeer(t.Context(), PeerSpec{PublicKey: second.PublicKey()})
	require.ErrorIs(t, err, ErrInvalid, "a peer cannot have the node's key")
	_, err = r.RekeyPeer(t.Context(), peers.PublicKey(), PeerKeys{PublicKey: second.PublicKey()})
	require.ErrorIs(t, err, ErrInvalid)
	r.add(t, PeerSpec{PublicKey: first.PublicKey()}) // it is nobody's any more

	require.NoError(t, keyfile.Replace(path, first))
	_, err = r.RotateKey(t.Context(), KeyRotation{})
	require.ErrorIs(t, err, ErrKeyMismatch, "someone else's key is not overwritten")
	require.NoError(t, os.Remove(path))
	_, err = r.RotateKey(t.Context(), KeyRotation{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, second, r.keyNow(t))
	require.NoError(t, r.Close())
	_, err = r.RotateKey(t.Context(), KeyRotation{})
	require.ErrorIs(t, err, ErrClosed)

	own := startRig(t, func(c *Config) { c.PrivateKey = second })
	_, err = own.RotateKey(t.Context(), KeyRotation{})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "Config.PrivateKeyFile")

	plain := newRig(t, newFaultyStore(), func(c *Config) { c.Dataplane = struct{ Dataplane }{c.Dataplane} })
	require.NoError(t, plain.Start(t.Context()))
	_, err = plain.RotateKey(t.Context(), KeyRotation{})
	require.ErrorIs(t, err, ErrNotSupported)
}

// disk is what a process that is killed leaves: the store and the key file.
type disk struct {
	records []Record
	key     []byte
}

func diskOf(t testing.TB, store *faultyStore, path string) disk {
	t.Helper()
	key, err := os.ReadFile(path)
	require.NoError(t, err)
	return disk{store.snapshot(), key}
}

// startOn starts a node on what is left, and returns its key and what is left of it in turn.
func (d disk) startOn(t testing.TB) (key wgtypes.Key, left disk) {
	t.Helper()
	path, store := keyFile(t), newFaultyStore()
	require.NoError(t, os.WriteFile(path, d.key, 0o600))
	var batch []Mutation
	for _, record := range d.records {
		batch = append(batch, put(record))
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	r := newRig(t, store, inFile(path))
	require.NoError(t, r.Start(t.Context()))
	key = r.keyNow(t)
	require.NoError(t, r.Close())
	known, _ := store.keyInStore(t, key)
	require.Equal(t, keyRecord{public: key.PublicKey()}, known, "a rotation that was under way is decided")
	return key, diskOf(t, store, path)
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
			if name != "SetPrivateKey" {
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
			key, again := d.startOn(t)
			require.Contains(t, []wgtypes.Key{former, next}, key)
			twice, _ := again.startOn(t)
			require.Equal(t, key, twice)
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
		require.Equal(t, want, last)
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
				if name == "SetPrivateKey" {
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

// TestRotationNotUndone has the dataplane refuse the former key after the store has refused the rotation: the next sync that can
// puts it back.
func TestRotationNotUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := keyFile(t)
		r := startRig(t, inFile(path))
		r.add(t, PeerSpec{})
		former, next := r.keyNow(t), privateKey(t)
		r.drain()
		calls := 0
		r.dataplane.setHook(func(_ context.Context, name string) error {
			if name == "SetPrivateKey" {
				if calls++; calls > 1 {
					return errInjected
				}
			}
			return nil
		})
		r.store.set(func(batch []Mutation) error {
			if calls == 1 {
				return errInjected
			}
			return nil
		}, nil)
		_, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: next})
		require.ErrorContains(t, err, "write to store: injected fault")
		require.ErrorContains(t, err, "undo apply to dataplane: injected fault")
		require.Equal(t, next, r.dataplane.cfg.PrivateKey)
		synctest.Wait()
		require.Equal(t, []EventKind{SyncFailed}, r.kinds())
		r.dataplane.setHook(nil)
		repairs, err := r.Sync(t.Context())
		require.NoError(t, err)
		require.Equal(t, []Repair{{What: "put the node's private key back"}}, repairs)
		require.Equal(t, former, r.keyNow(t))
		repairs, err = r.Sync(t.Context())
		require.NoError(t, err)
		require.Empty(t, repairs)
		require.Equal(t, former, r.again(t, inFile(path)).keyNow(t))
	})
}

// TestRotationBesideOthers rotates while peers come, are rekeyed and go, and others look.
func TestRotationBesideOthers(t *testing.T) {
	path := keyFile(t)
	r := startRig(t, inFile(path))
	known := r.add(t, PeerSpec{})
	failed := make(chan error, 8)
	var all sync.WaitGroup
	repeat := func(f func() error) {
		all.Go(func() {
			for range 30 {
				if err := f(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for range 2 {
		repeat(func() error {
			_, err := r.RotateKey(t.Context(), KeyRotation{})
			return err
		})
	}
	repeat(func() error {
		p, err := r.AddPeer(t.Context(), PeerSpec{})
		if err == nil {
			_, err = r.RekeyPeer(t.Context(), p.PublicKey, PeerKeys{})
		}
		return err
	})
	repeat(func() error {
		_, err := r.ClientConfig(known.PublicKey, known.PrivateKey)
		if err == nil {
			_, err = r.Status(t.Context())
		}
		return err
	})
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	r.sound(t)
	key := r.keyNow(t)
	require.Equal(t, key, r.again(t, inFile(path)).keyNow(t))
}

// TestPeerThatBecomesTheNode adds a peer and rekeys another to a key that the node takes while they wait.
func TestPeerThatBecomesTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		peer := r.add(t, PeerSpec{}).PublicKey
		next := privateKey(t)
		proceed := make(chan struct{})
		r.dataplane.setHook(func(_ context.Context, name string) error {
			if name == "SetPrivateKey" {
				<-proceed
			}
			return nil
		})
		var rotated, added, rekeyed error
		var all sync.WaitGroup
		all.Go(func() { _, rotated = r.RotateKey(t.Context(), KeyRotation{PrivateKey: next}) })
		synctest.Wait()
		all.Go(func() { _, added = r.AddPeer(t.Context(), PeerSpec{PublicKey: next.PublicKey()}) })
		all.Go(func() { _, rekeyed = r.RekeyPeer(t.Context(), peer, PeerKeys{PublicKey: next.PublicKey()}) })
		synctest.Wait()
		close(proceed)
		all.Wait()
		require.NoError(t, rotated)
		require.ErrorIs(t, added, ErrInvalid)
		require.ErrorIs(t, rekeyed, ErrInvalid)
		r.sound(t)
		time.Sleep(DefaultSyncPeriod)
		synctest.Wait()
		r.sound(t)
	})
}
