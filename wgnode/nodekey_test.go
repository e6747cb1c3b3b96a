package wgnode

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// inFile has the node keep its key in a file.
func inFile(path string) func(*Config) {
	return func(c *Config) { c.PrivateKeyFile = path }
}

// keyFile is a path where no file is.
func keyFile(t testing.TB) string { return filepath.Join(t.TempDir(), "node.key") }

// startFails starts a node on a store, which must fail, and returns the error.
func startFails(t testing.TB, store *faultyStore, adjust ...func(*Config)) error {
	t.Helper()
	r := newRig(t, store, adjust...)
	err := r.Start(t.Context())
	require.Error(t, err)
	require.NoError(t, r.Close())
	return err
}

// keyInStore is what the store knows of the key, and whether any of its records has a secret of it.
func (s *faultyStore) keyInStore(t testing.TB, private wgtypes.Key) (k keyRecord, secret bool) {
	t.Helper()
	for _, r := range s.snapshot() {
		secret = secret || strings.Contains(string(r.Value), private.String())
		if r.Kind == RecordNode && r.Key == nodeKeyRecord {
			var err error
			k, err = decodeNodeKey(r)
			require.NoError(t, err)
		}
	}
	return k, secret
}

func privateKey(t testing.TB) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return key
}

func TestKeyInFile(t *testing.T) {
	path := keyFile(t)
	first := startRig(t, inFile(path))
	private, err := keyfile.Read(path)
	require.NoError(t, err)
	require.Equal(t, private, first.dataplane.cfg.PrivateKey)
	known, secret := first.store.keyInStore(t, private)
	require.False(t, secret)
	require.Equal(t, keyRecord{public: private.PublicKey()}, known)
	require.Equal(t, 3, first.versions(t)[RecordNode], "an older program would make another key")

	first.add(t, PeerSpec{})
	second := first.again(t, inFile(path))
	require.Equal(t, private, second.dataplane.cfg.PrivateKey)

	own := privateKey(t)
	third := second.again(t, func(c *Config) { c.PrivateKey = own })
	require.Equal(t, own, third.dataplane.cfg.PrivateKey, "a program that keeps the key may change it")
	require.Equal(t, private, third.again(t, inFile(path)).dataplane.cfg.PrivateKey)
}

// TestKeyMovesToFile has a store of an earlier version, and a process that is killed at each step of the move.
func TestKeyMovesToFile(t *testing.T) {
	path := keyFile(t)
	first := startRig(t)
	first.add(t, PeerSpec{})
	private := first.dataplane.cfg.PrivateKey
	known, secret := first.store.keyInStore(t, private)
	require.True(t, secret)
	require.Equal(t, keyRecord{private: private}, known)
	require.NoError(t, first.Close())

	// Before the file is written: its directory is not there.
	err := startFails(t, first.store, inFile(filepath.Join(path, "none")))
	require.ErrorContains(t, err, "write private key: create key file")
	_, secret = first.store.keyInStore(t, private)
	require.True(t, secret, "the store forgets the key only when the file has it")

	// Between the two.
	first.store.set(func([]Mutation) error { return errInjected }, nil)
	require.ErrorIs(t, startFails(t, first.store, inFile(path)), errInjected)
	got, err := keyfile.Read(path)
	require.NoError(t, err)
	require.Equal(t, private, got)
	_, secret = first.store.keyInStore(t, private)
	require.True(t, secret)

	// The commit is reported as failed, and was made; and then not, but the dataplane does not start.
	first.store.set(nil, func([]Mutation) error { return errInjected })
	require.ErrorIs(t, startFails(t, first.store, inFile(path)), errInjected)
	first.store.set(nil, nil)
	broken := newRig(t, first.store, inFile(path))
	broken.dataplane.setHook(func(context.Context, string) error { return errInjected })
	require.ErrorIs(t, broken.Start(t.Context()), errInjected)
	known, secret = first.store.keyInStore(t, private)
	require.False(t, secret)
	require.Equal(t, keyRecord{public: private.PublicKey()}, known)

	last := newRig(t, first.store, inFile(path))
	require.NoError(t, last.Start(t.Context()))
	require.Equal(t, private, last.dataplane.cfg.PrivateKey)
}

// TestLostAndForeignKeys has files that are not the node's, or are not there, with and without peers.
func TestLostAndForeignKeys(t *testing.T) {
	path, foreign := keyFile(t), keyFile(t)
	accept := func(c *Config) { c.AcceptNewKey = true }
	first := startRig(t, inFile(path))
	public := first.up.publicKey
	other := privateKey(t)
	require.NoError(t, keyfile.Create(foreign, other))
	require.Equal(t, other, first.again(t, inFile(foreign)).dataplane.cfg.PrivateKey, "nobody knows the node")
	second := newRig(t, first.store, inFile(path))
	require.NoError(t, second.Start(t.Context()))
	second.add(t, PeerSpec{})
	require.NoError(t, second.Close())

	err := startFails(t, first.store, inFile(foreign))
	require.ErrorIs(t, err, ErrKeyMismatch)
	for _, text := range []string{foreign, other.PublicKey().String(), public.String(), "put the file of that key back"} {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), other.String())
	missing := keyFile(t)
	err = startFails(t, first.store, inFile(missing))
	require.ErrorIs(t, err, ErrKeyMismatch)
	require.ErrorContains(t, err, "there is no key file "+missing+", and 1 peers know this node by the key "+public.String())
	require.NoFileExists(t, missing)
	err = startFails(t, first.store)
	require.ErrorIs(t, err, ErrKeyMismatch)
	require.ErrorContains(t, err, "Config.PrivateKeyFile")
	require.NoError(t, os.WriteFile(missing, nil, 0o600))
	require.ErrorIs(t, startFails(t, first.store, inFile(missing), accept), keyfile.ErrNoKey, "what is damaged is not overwritten")

	third := newRig(t, first.store, inFile(foreign), accept)
	require.NoError(t, third.Start(t.Context()))
	require.Equal(t, other, third.dataplane.cfg.PrivateKey)
	fourth := third.again(t, inFile(foreign))
	require.Equal(t, other.PublicKey(), fourth.up.publicKey, "which the store knows from then on")
	require.NoError(t, os.Remove(foreign))
	fifth := fourth.again(t, inFile(foreign), accept)
	require.NotContains(t, []wgtypes.Key{public, other.PublicKey()}, fifth.up.publicKey)
	sixth := fifth.again(t, accept)
	require.NotEqual(t, fifth.up.publicKey, sixth.up.publicKey)
	known, _ := sixth.store.keyInStore(t, wgtypes.Key{})
	require.Equal(t, sixth.dataplane.cfg.PrivateKey, known.private)

	err = startFails(t, storeOf(t, sixth), inFile(path))
	require.ErrorIs(t, err, ErrKeyMismatch)
	require.ErrorContains(t, err, "move the file away, and the store's key is put there")
	require.NoError(t, os.Remove(path))
	last := newRig(t, sixth.store, inFile(path))
	require.NoError(t, last.Start(t.Context()))
	require.Equal(t, sixth.up.publicKey, last.up.publicKey)
}

// storeOf closes a node, and returns its store.
func storeOf(t testing.TB, r *rig) *faultyStore {
	t.Helper()
	require.NoError(t, r.Close())
	return r.store
}

// TestForgottenPrivateKey has a program that gave the key, and does not any more.
func TestForgottenPrivateKey(t *testing.T) {
	own := privateKey(t)
	r := startRig(t, func(c *Config) { c.PrivateKey = own })
	r.add(t, PeerSpec{})
	for _, adjust := range []func(*Config){inFile(keyFile(t)), func(*Config) {}} {
		err := startFails(t, storeOf(t, r), adjust)
		require.ErrorIs(t, err, ErrKeyMismatch)
		require.ErrorContains(t, err, "a key that the store has no record of")
	}
	path := keyFile(t)
	require.NoError(t, keyfile.Create(path, own))
	next := newRig(t, r.store, inFile(path))
	require.NoError(t, next.Start(t.Context()))
	require.Equal(t, own, next.dataplane.cfg.PrivateKey)
}

func TestKeysGivenTwice(t *testing.T) {
	_, err := New(Config{Dataplane: &fakeDataplane{}, PrivateKey: privateKey(t), PrivateKeyFile: "node.key"})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "PrivateKeyFile: is given beside PrivateKey")
}

func TestDamagedKeyRecords(t *testing.T) {
	key := privateKey(t).String()
	for _, value := range []string{
		`{"v":4,"public_key":"` + key + `","overlap_ends":"2026-11-21T07:00:00Z"}`, `{"v":4,"public_key":"` + key + `","former_private_key":"` + key + `"}`,
		`{"v":4,"private_key":"` + key + `","former_public_key":"` + key + `","former_private_key":"` + key + `"}`,
		`{"v":4,"private_key":"` + key + `","former_private_key":"x"}`, `{"v":4,"private_key":"` + key + `","former_public_key":"x"}`,
		`{"v":3}`, `{"v":3,"public_key":"x"}`, `{"v":1,"private_key":"x"}`, `{"v":3,"public_key":"` + key + `","private_key":"` + key + `"}`,
	} {
		store := newFaultyStore()
		require.NoError(t, store.Commit(t.Context(), []Mutation{put(Record{RecordNode, nodeKeyRecord, []byte(value)})}))
		require.ErrorIs(t, startFails(t, store), ErrCorrupt, value)
	}
}

// TestClamp has a key that a device would change.
func TestClamp(t *testing.T) {
	key := wgtypes.Key{0: 255, 31: 255}
	r := startRig(t, func(c *Config) { c.PrivateKey = key })
	require.NotEqual(t, key, r.dataplane.cfg.PrivateKey)
	require.Equal(t, key.PublicKey(), r.dataplane.cfg.PrivateKey.PublicKey())
	require.Equal(t, key.PublicKey(), r.up.publicKey)
}
