package wgnode

import (
	"context"
	"io/fs"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// inBothModes runs a test with the key in the store, and in a file.
func inBothModes(t *testing.T, test func(t *testing.T, path string, adjust func(*Config))) {
	t.Helper()
	t.Run("in store", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, "", func(*Config) {}) })
	})
	t.Run("in file", func(t *testing.T) {
		path := keyFile(t)
		synctest.Test(t, func(t *testing.T) { test(t, path, inFile(path)) })
	})
}

// overlapping begins an overlap, and returns the keys that are served then.
func (r *rig) overlapping(t testing.TB, d time.Duration) keys {
	t.Helper()
	_, err := r.RotateKey(t.Context(), KeyRotation{Overlap: d})
	require.NoError(t, err)
	now := r.keysNow(t)
	require.NotZero(t, now.former)
	return now
}

// forgotten checks that a private key is nowhere any more, and that a store of an older program could be gone on with.
func (r *rig) forgotten(t *testing.T, path string, former wgtypes.Key) {
	t.Helper()
	known, secret := r.store.keyInStore(t, former)
	require.False(t, secret)
	want, version := keyRecord{private: r.keyNow(t)}, 1
	if path != "" {
		want, version = keyRecord{public: r.keyNow(t).PublicKey()}, 3
		require.NoFileExists(t, formerFile(path))
	}
	require.Equal(t, want, known)
	require.Equal(t, version, r.versions(t)[RecordNode])
	require.Equal(t, keys{key: r.keyNow(t)}, r.keysNow(t))
	status, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Zero(t, status.FormerKey)
	require.Zero(t, status.OverlapEnds)
	require.Empty(t, status.Problems)
}

func TestKeyOverlap(t *testing.T) {
	inBothModes(t, func(t *testing.T, path string, adjust func(*Config)) {
		r := startRig(t, adjust)
		peer := r.add(t, PeerSpec{})
		first, ends := r.keyNow(t), time.Now().Add(24*time.Hour).UTC()
		r.drain()
		rotated, err := r.RotateKey(t.Context(), KeyRotation{Overlap: 24 * time.Hour})
		require.NoError(t, err)
		second := r.keyNow(t)
		require.Equal(t, keys{second, first}, r.keysNow(t))
		require.Equal(t, RotatedKey{second.PublicKey(), first.PublicKey(), ends}, rotated)
		events := r.drain()
		require.Len(t, events, 1)
		require.Equal(t, ends, events[0].OverlapEnds)
		require.Contains(t, events[0].String(), "overlap_ends="+ends.Format(time.RFC3339))
		client, err := r.ClientConfig(peer.PublicKey, wgtypes.Key{})
		require.NoError(t, err)
		require.Equal(t, second.PublicKey(), client.ServerKey)

		known, secret := r.store.keyInStore(t, first)
		require.Equal(t, path == "", secret)
		require.Equal(t, ends, known.former.until)
		require.Equal(t, 4, r.versions(t)[RecordNode], "an older program would cut off who knows the former key")
		if path != "" {
			got, err := keyfile.Read(formerFile(path))
			require.NoError(t, err)
			require.Equal(t, first, got)
			info, err := os.Stat(formerFile(path))
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode())
		}

		_, err = r.RotateKey(t.Context(), KeyRotation{Overlap: time.Hour})
		require.ErrorIs(t, err, ErrKeyOverlap)
		require.ErrorContains(t, err, first.PublicKey().String()+" until "+ends.Format(time.RFC3339))
		require.ErrorContains(t, err, "EndKeyOverlap")
		for _, d := range []time.Duration{0, time.Hour} {
			again, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: second, Overlap: d})
			require.NoError(t, err)
			require.Equal(t, RotatedKey{second.PublicKey(), second.PublicKey(), ends}, again)
		}
		_, err = r.AddPeer(t.Context(), PeerSpec{PublicKey: first.PublicKey()})
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "is the node's former key, by which clients may know it until "+ends.Format(time.RFC3339))
		_, err = r.RekeyPeer(t.Context(), peer.PublicKey, PeerKeys{PublicKey: first.PublicKey()})
		require.ErrorIs(t, err, ErrInvalid)
		require.Equal(t, keys{second, first}, r.keysNow(t))
		require.Empty(t, r.drain())

		time.Sleep(12 * time.Hour)
		next := r.again(t, adjust)
		require.Equal(t, keys{second, first}, next.keysNow(t), "the overlap outlives the process")
		status, err := next.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, []any{second.PublicKey(), first.PublicKey(), ends}, []any{status.PublicKey, status.FormerKey, status.OverlapEnds})
		next.drain()
		time.Sleep(12*time.Hour - time.Millisecond)
		synctest.Wait()
		require.Equal(t, keys{second, first}, next.keysNow(t))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		events = next.drain()
		require.Len(t, events, 1)
		require.Equal(t, []any{KeyOverlapEnded, second.PublicKey(), first.PublicKey()}, []any{events[0].Kind, events[0].NodeKey, events[0].FormerNodeKey})
		next.forgotten(t, path, first)
		require.Equal(t, 1, next.dataplane.count("SetKeys"))
		next.add(t, PeerSpec{PublicKey: first.PublicKey()}) // it is nobody's any more
		next.overlapping(t, MaxKeyOverlap)
	})
}

// TestOverlapThatEndedMeanwhile has the end come while no node runs: it is over before the dataplane starts.
func TestOverlapThatEndedMeanwhile(t *testing.T) {
	inBothModes(t, func(t *testing.T, path string, adjust func(*Config)) {
		r := startRig(t, adjust)
		r.add(t, PeerSpec{})
		now := r.overlapping(t, time.Hour)
		require.NoError(t, r.Close())
		time.Sleep(time.Hour)
		next := newRig(t, r.store, adjust)
		require.NoError(t, next.Start(t.Context()))
		require.Equal(t, keys{key: now.key}, next.keysNow(t))
		require.Zero(t, next.dataplane.count("SetKeys"), "it never served the former key")
		require.Equal(t, []EventKind{NodeStarted, KeyOverlapEnded}, next.kinds())
		next.forgotten(t, path, now.former)
	})
}

// TestOverlapEndsEarly ends one by itself and with a rotation, to a new key and back to the former one.
func TestOverlapEndsEarly(t *testing.T) {
	inBothModes(t, func(t *testing.T, path string, adjust func(*Config)) {
		r := startRig(t, adjust)
		r.add(t, PeerSpec{})
		require.NoError(t, r.EndKeyOverlap(t.Context()), "there is none")
		now := r.overlapping(t, time.Hour)
		r.drain()
		require.NoError(t, r.EndKeyOverlap(t.Context()))
		require.Equal(t, []EventKind{KeyOverlapEnded}, r.kinds())
		require.Equal(t, now.key, r.keyNow(t))
		r.forgotten(t, path, now.former)
		require.NoError(t, r.EndKeyOverlap(t.Context()))
		require.Empty(t, r.drain())
		require.Equal(t, 2, r.dataplane.count("SetKeys"))

		for _, back := range []bool{false, true} {
			now, next := r.overlapping(t, time.Hour), privateKey(t)
			if back {
				next = now.former
			}
			r.drain()
			rotated, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: next})
			require.NoError(t, err)
			require.Equal(t, RotatedKey{PublicKey: next.PublicKey(), FormerKey: now.key.PublicKey()}, rotated)
			events := r.drain()
			require.Equal(t, []EventKind{KeyOverlapEnded, NodeRekeyed}, kindsOf(events))
			require.Equal(t, now.key.PublicKey(), events[0].NodeKey)
			require.Equal(t, now.former.PublicKey(), events[0].FormerNodeKey)
			require.Equal(t, next, r.keyNow(t))
			r.forgotten(t, path, now.key)
			if !back {
				r.forgotten(t, path, now.former)
			}
		}
		last := r.overlapping(t, time.Hour)
		require.Equal(t, last, r.again(t, adjust).keysNow(t))
	})
}

// TestOverlapThatCannotEnd has everything fail in turn that the end takes: it is tried again, and told.
func TestOverlapThatCannotEnd(t *testing.T) {
	inBothModes(t, func(t *testing.T, path string, adjust func(*Config)) {
		r := startRig(t, adjust)
		r.add(t, PeerSpec{})
		now := r.overlapping(t, time.Hour)
		what := func() string {
			t.Helper()
			for _, p := range r.health.list() {
				if p.Kind == FormerKeyKept {
					require.Equal(t, "key", p.Kind.Area())
					return p.What
				}
			}
			return ""
		}
		r.drain()
		r.dataplane.setHook(func(_ context.Context, name string) error {
			if name == "SetKeys" {
				return errInjected
			}
			return nil
		})
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		require.Equal(t, []EventKind{ProblemBegan}, r.kinds())
		require.Contains(t, what(), "the former key "+now.former.PublicKey().String()+" is still served")
		require.Contains(t, what(), errInjected.Error())
		require.Less(t, r.dataplane.count("SetKeys"), 20, "it rests before it is tried again")
		require.Equal(t, now, r.keysNow(t))
		require.ErrorIs(t, r.EndKeyOverlap(t.Context()), errInjected)
		require.Equal(t, now, r.keysNow(t))

		r.store.set(func([]Mutation) error { return errInjected }, nil)
		r.dataplane.setHook(nil)
		time.Sleep(retryDelay)
		synctest.Wait()
		require.Equal(t, keys{key: now.key}, r.keysNow(t), "what cannot be stored keeps nobody from being cut off")
		require.Contains(t, what(), "is no more served, but not removed yet")
		if path != "" {
			require.NoFileExists(t, formerFile(path))
		}
		_, err := r.RotateKey(t.Context(), KeyRotation{Overlap: time.Hour})
		require.ErrorIs(t, err, errInjected)
		r.store.set(nil, nil)
		time.Sleep(retryDelay)
		synctest.Wait()
		r.forgotten(t, path, now.former)
		require.Contains(t, r.kinds(), KeyOverlapEnded)

		if path == "" {
			return
		}
		now = r.overlapping(t, time.Hour)
		require.NoError(t, os.Remove(formerFile(path)))
		require.NoError(t, os.Mkdir(formerFile(path), 0o700))
		var failed *keyfile.Error
		require.ErrorAs(t, r.EndKeyOverlap(t.Context()), &failed)
		require.Equal(t, keys{key: now.key}, r.keysNow(t))
		require.Contains(t, what(), "it is no file but d")
		require.ErrorAs(t, r.EndKeyOverlap(t.Context()), &failed, "it is tried again")
		next := r.again(t, adjust)
		require.Equal(t, keys{key: now.key}, next.keysNow(t), "that it is over is durable")
		require.Len(t, next.health.list(), 1)
		require.NoError(t, os.Remove(formerFile(path)))
		time.Sleep(retryDelay)
		synctest.Wait()
		next.forgotten(t, path, now.former)
	})
}

// TestOverlapNotSupported has a dataplane of one key: nothing is left of the rotation. A start goes on without the former key.
func TestOverlapNotSupported(t *testing.T) {
	oneKey := func(r *rig, former *wgtypes.Key) {
		r.dataplane.setOnKeys(func(_, f wgtypes.Key) error {
			if f != (wgtypes.Key{}) {
				*former = f
				return &NotSupportedError{"serving two keys", "another dataplane, or a rotation without an overlap"}
			}
			return nil
		})
	}
	inBothModes(t, func(t *testing.T, path string, adjust func(*Config)) {
		var asked wgtypes.Key
		r := startRig(t, adjust)
		r.add(t, PeerSpec{})
		now := r.keysNow(t)
		oneKey(r, &asked)
		r.drain()
		_, err := r.RotateKey(t.Context(), KeyRotation{Overlap: time.Hour})
		require.ErrorIs(t, err, ErrNotSupported)
		require.ErrorContains(t, err, "or a rotation without an overlap")
		require.Equal(t, now.key, asked)
		require.Equal(t, now, r.keysNow(t))
		r.forgotten(t, path, privateKey(t))
		require.Empty(t, r.drain())

		r.dataplane.setOnKeys(nil)
		now = r.overlapping(t, time.Hour)
		next := r.again(t, adjust)
		oneKey(next, &asked)
		before := next.dataplane.count("SetKeys")
		next.store.set(func([]Mutation) error {
			if path == "" || next.dataplane.count("SetKeys") == before+1 {
				return errInjected
			}
			return nil
		}, nil)
		_, err = next.RotateKey(t.Context(), KeyRotation{})
		require.ErrorIs(t, err, errInjected)
		require.NotErrorIs(t, err, ErrNotSupported, "it is undone as far as it was done")
		next.store.set(nil, nil)
		require.Equal(t, now.key, next.dataplane.cfg.PrivateKey)
		require.NoError(t, next.EndKeyOverlap(t.Context()))
		next.forgotten(t, path, now.former)
	})

	_, err := startRig(t, func(c *Config) { c.Dataplane = struct{ Dataplane }{c.Dataplane} }).RotateKey(t.Context(), KeyRotation{Overlap: time.Hour})
	require.ErrorIs(t, err, ErrNotSupported)
}

func TestOverlapOutOfRange(t *testing.T) {
	r := startRig(t)
	for _, d := range []time.Duration{-time.Hour, 1, MinKeyOverlap - 1, MaxKeyOverlap + 1} {
		_, err := r.RotateKey(t.Context(), KeyRotation{Overlap: d})
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "Overlap: is "+d.String()+": it must be 1s to 2160h0m0s, or 0 for none")
	}
	require.Zero(t, r.dataplane.count("SetKeys"))
	require.NoError(t, r.Close())
	require.ErrorIs(t, r.EndKeyOverlap(t.Context()), ErrClosed)
	require.ErrorIs(t, newRig(t, newFaultyStore()).EndKeyOverlap(t.Context()), ErrNotStarted)
}

// TestWhoKnowsTheFormerKey tells of the peers that have not moved.
func TestWhoKnowsTheFormerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		late, moved := r.add(t, PeerSpec{}).PublicKey, r.add(t, PeerSpec{}).PublicKey
		look := func() (of []bool, count int) {
			t.Helper()
			time.Sleep(lookPeriod + DefaultCheckpointPeriod)
			synctest.Wait()
			for _, key := range []wgtypes.Key{late, moved} {
				q, err := r.PeerQuality(key)
				require.NoError(t, err)
				of = append(of, q.FormerKey)
			}
			status, err := r.Status(t.Context())
			require.NoError(t, err)
			return of, status.FormerKeyPeers
		}
		r.dataplane.mu.Lock()
		r.dataplane.laggards = map[wgtypes.Key]bool{late: true}
		r.dataplane.mu.Unlock()
		of, count := look()
		require.Equal(t, []bool{false, false}, of)
		require.Zero(t, count)
		r.overlapping(t, time.Hour)
		of, count = look()
		require.Equal(t, []bool{true, false}, of)
		require.Equal(t, 1, count)
		stats, err := r.PeerStats(t.Context(), late)
		require.NoError(t, err)
		require.True(t, stats.FormerKey)
		require.NoError(t, r.EndKeyOverlap(t.Context()))
		q, err := r.PeerQuality(late)
		require.NoError(t, err)
		require.False(t, q.FormerKey)
	})
}

// TestOverlapNotPutBack has the dataplane refuse to go back to the overlap that a rotation was to end: the next sync that can puts
// both keys back.
func TestOverlapNotPutBack(t *testing.T) {
	path := keyFile(t)
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, inFile(path))
		on, next := r.overlapping(t, time.Hour), privateKey(t)
		r.dataplane.setOnKeys(func(key, _ wgtypes.Key) error {
			if key != next {
				return errInjected
			}
			return nil
		})
		r.store.set(func([]Mutation) error {
			if r.dataplane.count("SetKeys") == 2 {
				return errInjected
			}
			return nil
		}, nil)
		_, err := r.RotateKey(t.Context(), KeyRotation{PrivateKey: next})
		require.ErrorContains(t, err, "undo apply to dataplane: injected fault")
		r.store.set(nil, nil)
		require.Equal(t, next, r.dataplane.cfg.PrivateKey)
		r.dataplane.setOnKeys(nil)
		_, err = r.Sync(t.Context())
		require.NoError(t, err)
		require.Equal(t, on, r.keysNow(t))
		require.Equal(t, on, r.again(t, inFile(path)).keysNow(t))
	})
}
