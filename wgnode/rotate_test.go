package wgnode

import (
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

var _ KeyChanger = (*fakeDataplane)(nil)

func (f *fakeDataplane) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	if err := f.enter(ctx, "SetKeys"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onKeys != nil {
		if err := f.onKeys(key, former); err != nil {
			return err
		}
	}
	f.cfg.PrivateKey, f.cfg.FormerKey = key, former
	return nil
}

func (f *fakeDataplane) setOnKeys(ask func(key, former wgtypes.Key) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onKeys = ask
}

// keyNow is the private key in force, after a look that node and dataplane agree on it.
func (r *rig) keyNow(t testing.TB) wgtypes.Key {
	t.Helper()
	r.dataplane.mu.Lock()
	defer r.dataplane.mu.Unlock()
	up := r.session()
	require.Equal(t, up.publicKey, r.dataplane.cfg.PrivateKey.PublicKey())
	require.Equal(t, r.dataplane.cfg.PrivateKey[:], up.privateKey.Bytes())
	require.Equal(t, up.overlap.key(), r.dataplane.cfg.FormerKey)
	return r.dataplane.cfg.PrivateKey
}

// keys are what a dataplane serves.
type keys struct{ key, former wgtypes.Key }

func (r *rig) keysNow(t testing.TB) keys {
	t.Helper()
	key := r.keyNow(t)
	r.dataplane.mu.Lock()
	defer r.dataplane.mu.Unlock()
	return keys{key, r.dataplane.cfg.FormerKey}
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
			if name == "SetKeys" {
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
		require.Equal(t, []EventKind{ProblemBegan, ProblemOver, SyncFailed}, r.kinds(), "the store failed, and then the dataplane")
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
			if name == "SetKeys" {
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
