package wgnode

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// TestKilledInOverlap looks at what is on the disk at every call that the beginning and the ends of an overlap make, before and
// after it, and while what it did is undone: a node starts on each, with the keys of before or of after, and none beside.
func TestKilledInOverlap(t *testing.T) {
	third := privateKey(t)
	for name, change := range map[string]struct {
		within bool
		do     func(r *rig) error
		after  func(before keys, now wgtypes.Key) keys
	}{
		"begin": {false, func(r *rig) error {
			_, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: third, Overlap: time.Hour})
			return err
		}, func(before keys, _ wgtypes.Key) keys { return keys{third, before.key} }},
		"rotate at once": {true, func(r *rig) error {
			_, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: third})
			return err
		}, func(keys, wgtypes.Key) keys { return keys{key: third} }},
		"end": {true, func(r *rig) error { return r.EndKeyOverlap(t.Context()) },
			func(before keys, _ wgtypes.Key) keys { return keys{key: before.key} }},
	} {
		t.Run(name, func(t *testing.T) {
			for failing, failed := 0, true; failed; failing++ {
				require.Less(t, failing, 10)
				path := keyFile(t)
				r := startRig(t, inFile(path))
				r.add(t, PeerSpec{})
				before := r.keysNow(t)
				if change.within {
					before = r.overlapping(t, time.Hour)
				}
				after := change.after(before, third)
				left, err := killedIn(t, r, path, failing, func() error { return change.do(r) })
				failed = err != nil
				for _, d := range left {
					now, again := d.startOn(t)
					require.Contains(t, []keys{before, after}, now, "fault %d", failing)
					twice, _ := again.startOn(t)
					require.Equal(t, now, twice)
				}
				last, _ := left[len(left)-1].startOn(t)
				require.Equal(t, r.keysNow(t), last)
				require.NoError(t, change.do(r), "it can be done now")
				require.Equal(t, after, r.keysNow(t))
				require.Equal(t, after, r.again(t, inFile(path)).keysNow(t))
			}
		})
	}
}

// killedIn does something of which one call of the store or the dataplane fails, and returns what is on the disk around each.
func killedIn(t *testing.T, r *rig, path string, failing int, do func() error) (left []disk, err error) {
	t.Helper()
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
	r.store.set(func(batch []Mutation) error {
		if !ours(batch) {
			return nil
		}
		return struck()
	}, func(batch []Mutation) error {
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
	err = do()
	r.store.set(nil, nil)
	r.dataplane.setHook(nil)
	look()
	return left, err
}

// TestStartOnWhatIsLeft has each combination of record and files that a process can leave which is killed between two of them.
func TestStartOnWhatIsLeft(t *testing.T) {
	a, b, c := privateKey(t), privateKey(t), privateKey(t)
	pa, pb, pc := a.PublicKey(), b.PublicKey(), c.PublicKey()
	until, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	begin := keyRecord{public: pa, next: pb, former: formerKey{public: pa, until: until}}
	on := keyRecord{public: pb, former: formerKey{public: pa, until: until}}
	atOnce := keyRecord{public: pb, next: pc, former: on.former}
	for name, state := range map[string]struct {
		record      keyRecord
		key, former wgtypes.Key // in the files
		want        keys
	}{
		"begin, no file yet":            {begin, a, wgtypes.Key{}, keys{key: a}},
		"begin, former file":            {begin, a, a, keys{key: a}},
		"begin, both files":             {begin, b, a, keys{b, a}},
		"begin, both files, it is past": {keyRecord{public: pa, next: pb, former: formerKey{public: pa, until: past}}, b, a, keys{key: b}},
		"undone, but for the file":      {keyRecord{public: pa, former: formerKey{public: pa}}, a, a, keys{key: a}},
		"on":                            {on, b, a, keys{b, a}},
		"at once, not begun":            {atOnce, b, a, keys{b, a}},
		"at once, next file":            {atOnce, c, a, keys{key: c}},
		"at once, no former file":       {atOnce, c, wgtypes.Key{}, keys{key: c}},
		"at once, and back":             {keyRecord{public: pb, next: pa, former: on.former}, a, a, keys{key: a}},
		"end, decided":                  {keyRecord{public: pb, former: formerKey{public: pa}}, b, a, keys{key: b}},
		"end, decided, no file":         {keyRecord{public: pb, former: formerKey{public: pa}}, b, wgtypes.Key{}, keys{key: b}},
		"past":                          {keyRecord{public: pb, former: formerKey{public: pa, until: past}}, b, a, keys{key: b}},
		"past, no file":                 {keyRecord{public: pb, former: formerKey{public: pa, until: past}}, b, wgtypes.Key{}, keys{key: b}},
	} {
		t.Run(name, func(t *testing.T) {
			record, err := state.record.encode()
			require.NoError(t, err)
			d := disk{records: []Record{record}, key: []byte(state.key.String())}
			if state.former != (wgtypes.Key{}) {
				d.former = []byte(state.former.String())
			}
			now, again := d.startOn(t)
			require.Equal(t, state.want, now)
			twice, _ := again.startOn(t)
			require.Equal(t, state.want, twice)
		})
	}
}

// TestFormerFileThatIsNotIt has a former key's file that is missing, foreign, damaged or exposed: the node starts with its own
// key and says what to do, the overlap goes on for when the file is put back, and nobody's key is removed.
func TestFormerFileThatIsNotIt(t *testing.T) {
	foreign := privateKey(t)
	for name, spoil := range map[string]struct {
		do   func(path string) error
		says string
		left bool // after the end of the overlap
	}{
		"missing": {os.Remove, "no such file", false},
		"foreign": {func(path string) error { return keyfile.Replace(path, foreign) }, "has the key of " + foreign.PublicKey().String(), true},
		"damaged": {func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, "it holds no private key", false},
		"exposed": {func(path string) error { return os.Chmod(path, 0o644) }, "chmod 600", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := keyFile(t)
			synctest.Test(t, func(t *testing.T) {
				r := startRig(t, inFile(path))
				r.add(t, PeerSpec{})
				on := r.overlapping(t, time.Hour)
				require.NoError(t, r.Close())
				require.NoError(t, spoil.do(formerFile(path)))
				next := newRig(t, r.store, inFile(path))
				require.NoError(t, next.Start(t.Context()))
				require.Equal(t, keys{key: on.key}, next.keysNow(t))
				status, err := next.Status(t.Context())
				require.NoError(t, err)
				require.Equal(t, on.former.PublicKey(), status.FormerKey)
				require.Len(t, status.Problems, 1)
				problem := status.Problems[0]
				require.Equal(t, []string{"former-key-unusable", "key"}, []string{problem.Kind.String(), problem.Kind.Area()})
				require.Contains(t, problem.What, on.former.PublicKey().String())
				require.Contains(t, problem.What, spoil.says)
				require.NotContains(t, problem.What, foreign.String())
				_, err = next.AddPeer(t.Context(), PeerSpec{PublicKey: on.former.PublicKey()})
				require.ErrorIs(t, err, ErrInvalid, "it may be served again")
				require.NoError(t, next.Close())

				kept, err := os.ReadFile(formerFile(path))
				if name != "missing" {
					require.NoError(t, err)
				}
				require.NoError(t, keyfile.Replace(formerFile(path), on.former))
				third := newRig(t, r.store, inFile(path))
				require.NoError(t, third.Start(t.Context()))
				require.Equal(t, on, third.keysNow(t))
				require.NoError(t, third.Close())

				require.NoError(t, os.WriteFile(formerFile(path), kept, 0o600))
				if name == "missing" {
					require.NoError(t, os.Remove(formerFile(path)))
				}
				last := newRig(t, r.store, inFile(path))
				require.NoError(t, last.Start(t.Context()))
				time.Sleep(time.Hour)
				synctest.Wait()
				if spoil.left {
					require.FileExists(t, formerFile(path))
					_, err := last.RotateKey(t.Context(), KeyRotation{Overlap: time.Hour})
					require.ErrorContains(t, err, "move it away")
					require.NoError(t, os.Remove(formerFile(path)))
				}
				last.forgotten(t, path, on.former)
				last.overlapping(t, time.Hour)
			})
		})
	}
}

// TestOverlapMovesToFile has a store with both keys, and a start that keeps them in files.
func TestOverlapMovesToFile(t *testing.T) {
	path := keyFile(t)
	r := startRig(t)
	r.add(t, PeerSpec{})
	on := r.overlapping(t, time.Hour)
	require.NoError(t, r.Close())
	other := privateKey(t)
	require.NoError(t, keyfile.Create(formerFile(path), other))
	err := startFails(t, r.store, inFile(path))
	require.ErrorContains(t, err, "has the key of "+other.PublicKey().String())
	require.ErrorContains(t, err, "move the file away")
	require.NoError(t, os.Remove(formerFile(path)))
	r.store.set(func([]Mutation) error { return errInjected }, nil)
	require.ErrorIs(t, startFails(t, r.store, inFile(path)), errInjected)
	r.store.set(nil, nil)
	require.FileExists(t, formerFile(path), "the store forgets a key only when the file has it")
	for range 2 {
		next := newRig(t, r.store, inFile(path))
		require.NoError(t, next.Start(t.Context()))
		require.Equal(t, on, next.keysNow(t))
		known, secret := next.store.keyInStore(t, on.former)
		require.False(t, secret)
		require.Equal(t, formerKey{public: on.former.PublicKey(), until: known.former.until}, known.former)
		require.NoError(t, next.Close())
	}

	// A program that gives the key itself leaves the files to a later start, and a new key ends the overlap.
	given := newRig(t, r.store, func(c *Config) { c.PrivateKey = on.key })
	require.NoError(t, given.Start(t.Context()))
	require.Equal(t, keys{key: on.key}, given.keysNow(t))
	again := given.again(t, inFile(path))
	require.Equal(t, on, again.keysNow(t))
	require.NoError(t, again.Close())
	require.NoError(t, keyfile.Replace(path, other))
	last := newRig(t, r.store, func(c *Config) { c.PrivateKeyFile, c.AcceptNewKey = path, true })
	require.NoError(t, last.Start(t.Context()))
	require.Equal(t, other, last.keyNow(t))
	require.Contains(t, last.kinds(), KeyOverlapEnded)
	last.forgotten(t, path, on.former)
}

// TestOverlapInStoreOfGivenKey has a program that takes over the keeping of a key that the store has.
func TestOverlapInStoreOfGivenKey(t *testing.T) {
	r := startRig(t)
	on := r.overlapping(t, time.Hour)
	given := r.again(t, func(c *Config) { c.PrivateKey = on.key })
	require.Equal(t, on, given.keysNow(t))
	other := given.again(t, func(c *Config) { c.PrivateKey = privateKey(t) })
	require.Zero(t, other.keysNow(t).former, "clients know neither")
	require.Contains(t, other.kinds(), KeyOverlapEnded)
	known, secret := other.store.keyInStore(t, on.former)
	require.False(t, secret)
	require.Equal(t, keyRecord{private: on.key}, known)
}

// TestFormerKeyNotServed has starts that cannot serve a former key that is there, and a file of one that the store knows nothing of.
func TestFormerKeyNotServed(t *testing.T) {
	path := keyFile(t)
	r := startRig(t, inFile(path))
	on := r.overlapping(t, time.Hour)
	deaf := r.again(t, inFile(path), func(c *Config) { c.Dataplane = struct{ Dataplane }{c.Dataplane} })
	require.Zero(t, deaf.keysNow(t).former, "it could not be told to stop")
	require.Contains(t, deaf.health.list()[0].What, "use one that is a KeyChanger")
	require.NoError(t, deaf.Close())

	other := startRig(t)
	other.add(t, PeerSpec{PublicKey: on.former.PublicKey()})
	require.NoError(t, other.Close())
	for _, record := range other.store.snapshot() {
		if record.Key != nodeKeyRecord {
			require.NoError(t, r.store.Commit(t.Context(), []Mutation{put(record)}))
		}
	}
	taken := newRig(t, r.store, inFile(path))
	require.NoError(t, taken.Start(t.Context()))
	require.Equal(t, keys{key: on.key}, taken.keysNow(t))
	require.Contains(t, taken.health.list()[0].What, "stored as a peer's too")
	require.NoError(t, taken.RemovePeer(t.Context(), on.former.PublicKey()))
	require.Equal(t, on, taken.again(t, inFile(path)).keysNow(t))

	stray := keyFile(t)
	require.NoError(t, keyfile.Create(formerFile(stray), on.former))
	var log bytes.Buffer
	last := startRig(t, inFile(stray), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	require.Zero(t, last.keysNow(t).former)
	require.FileExists(t, formerFile(stray))
	require.NoError(t, last.Close())
	require.Contains(t, log.String(), "the store knows of no former key; delete it if nobody needs it")
}
