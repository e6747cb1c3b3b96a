package wgnode

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// shake has a peer shake hands, and reports whether it could.
func (f *fakeDataplane) shake(key wgtypes.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.peers[key]
	if ok {
		f.handshakes[key] = time.Now().Round(0)
	}
	return ok
}

// gone reports whether the node has a peer no more.
func (r *rig) gone(key wgtypes.Key) bool {
	_, err := r.Peer(key)
	return err != nil
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		spec := PeerSpec{IdleTimeout: 2 * time.Hour}
		silent, alive, free := r.add(t, spec).PublicKey, r.add(t, spec).PublicKey, r.add(t, PeerSpec{}).PublicKey
		r.drain()
		time.Sleep(90*time.Minute + 30*time.Second)
		require.True(t, r.dataplane.shake(alive))
		r.dataplane.move(silent, quota.Download, 5) // into a session of which nobody knows
		time.Sleep(29*time.Minute + 30*time.Second - time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(silent))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		events := r.drain()
		require.Equal(t, []EventKind{PeerRemoved}, kindsOf(events))
		require.Equal(t, silent, events[0].Peer)
		require.Equal(t, RemovalIdle, events[0].Reason)
		require.Equal(t, "idle", events[0].Reason.String())
		require.Equal(t, quota.Counters{Download: 5}, events[0].Counters)

		time.Sleep(90*time.Minute + 30*time.Second - 2*time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(alive))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.True(t, r.gone(alive), "two hours after its handshake")
		require.False(t, r.gone(free))
		r.sound(t)
	})
}

// TestIdleTimeoutLooksAgain has a handshake come after the last survey, and before the time is over.
func TestIdleTimeoutLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, unhurried)
		key := r.add(t, PeerSpec{IdleTimeout: 30 * time.Minute}).PublicKey
		time.Sleep(29 * time.Minute)
		require.True(t, r.dataplane.shake(key))
		time.Sleep(30*time.Minute - time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(key))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.True(t, r.gone(key))
	})
}

// TestIdleTimeStands holds that time does not count in which the peer could not connect.
func TestIdleTimeStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{IdleTimeout: 2 * time.Hour}).PublicKey
		time.Sleep(time.Hour)
		r = r.again(t)
		require.NoError(t, r.Close())
		time.Sleep(100 * time.Hour)
		r = newRig(t, r.store)
		require.NoError(t, r.Start(t.Context()))
		time.Sleep(time.Hour - time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(key), "the node was down")

		require.NoError(t, r.Suspend(t.Context(), OfPeer(key)))
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		require.False(t, r.gone(key), "it was suspended")
		require.NoError(t, r.Resume(t.Context(), OfPeer(key)))
		time.Sleep(2*time.Hour - time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(key), "resumption is a beginning")
		_, err := r.RekeyPeer(t.Context(), key, PeerKeys{})
		require.NoError(t, err)
		key = r.inv.peerOrder.entries[0].key
		time.Sleep(2*time.Hour - time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(key), "so is another key")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.True(t, r.gone(key))
		r.sound(t)
	})
}

// TestIdleTimeSurvivesAKill starts a node on what another had stored that was not closed: at most a survey, and the time to
// the checkpoint after it, is lost.
func TestIdleTimeSurvivesAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lost = surveyPeriod + DefaultCheckpointPeriod
		r := startRig(t)
		early := r.add(t, PeerSpec{IdleTimeout: 10 * time.Hour}).PublicKey
		shaken := r.add(t, PeerSpec{IdleTimeout: 10 * time.Hour}).PublicKey
		time.Sleep(4 * time.Hour)
		require.True(t, r.dataplane.shake(shaken))
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		killed := newFaultyStore()
		require.NoError(t, killed.Commit(t.Context(), copyOf(t, r.store)))
		k := newRig(t, killed)
		require.NoError(t, k.Start(t.Context()))
		time.Sleep(2*time.Hour - time.Millisecond)
		synctest.Wait()
		require.False(t, k.gone(early))
		time.Sleep(lost)
		synctest.Wait()
		require.True(t, k.gone(early))
		time.Sleep(4*time.Hour - lost)
		synctest.Wait()
		require.False(t, k.gone(shaken))
		time.Sleep(lost)
		synctest.Wait()
		require.True(t, k.gone(shaken))
		k.sound(t)
	})
}

func TestSetIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "acme"})
		a, b := r.add(t, PeerSpec{Account: "acme"}).PublicKey, r.add(t, PeerSpec{Account: "acme", IdleTimeout: 9 * time.Hour}).PublicKey
		time.Sleep(5 * time.Hour)
		r.drain()
		applied := r.dataplane.count("Apply")
		for range 2 {
			require.NoError(t, r.SetIdleTimeout(t.Context(), OfAccount("acme"), 6*time.Hour))
		}
		require.Equal(t, applied, r.dataplane.count("Apply"), "it is nothing to the dataplane")
		events := r.drain()
		require.Equal(t, []EventKind{PeerChanged, PeerChanged}, kindsOf(events))
		require.Equal(t, "idle timeout", events[0].Detail)
		time.Sleep(time.Hour + time.Millisecond)
		synctest.Wait()
		require.True(t, r.gone(b), "its silence counted before")
		time.Sleep(5*time.Hour - 2*time.Millisecond)
		synctest.Wait()
		require.False(t, r.gone(a), "its silence counts from when the timeout was set")
		require.NoError(t, r.SetIdleTimeout(t.Context(), OfPeer(a), 0))
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		require.False(t, r.gone(a))

		for _, d := range []time.Duration{-time.Hour, MinIdleTimeout - 1, MaxIdleTimeout + 1} {
			require.ErrorIs(t, r.SetIdleTimeout(t.Context(), OfPeer(a), d), ErrInvalid)
			_, err := r.AddPeer(t.Context(), PeerSpec{IdleTimeout: d})
			require.ErrorContains(t, err, "IdleTimeout")
		}
		require.ErrorIs(t, r.SetIdleTimeout(t.Context(), OfPeer(newKey(t)), 0), ErrNotFound)
	})
}

// TestIdlenessIsCheap counts what the dataplane is asked for idleness: handshakes once a survey, and once for those whose time
// has come.
func TestIdlenessIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		looks := 0
		r.dataplane.onDevice = func() { looks++ }
		r.add(t, PeerSpec{})
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, looks, "nobody has a timeout")
		for range 50 {
			r.add(t, PeerSpec{IdleTimeout: 30*time.Minute + time.Second})
		}
		time.Sleep(30*time.Minute + 2*time.Second)
		synctest.Wait()
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, status.Peers)
		require.LessOrEqual(t, looks, 30+1+1)
		r.sound(t)
	})
}

// TestIdlenessThatCannotBeRead removes nobody of whom nothing is known.
func TestIdlenessThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{IdleTimeout: time.Hour}).PublicKey
		r.dataplane.setHook(func(_ context.Context, call string) error {
			if call == "Stats" {
				return errInjected
			}
			return nil
		})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.False(t, r.gone(key))
		r.dataplane.setHook(nil)
		time.Sleep(retryDelay)
		synctest.Wait()
		require.True(t, r.gone(key))
		r.sound(t)
	})
}

// TestWitness sets the clock under way.
func TestWitness(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const running, surveyed = 100 * time.Hour, 99 * time.Hour
	tests := map[string]struct {
		before    tenure
		handshake time.Time
		seen      time.Duration
		news      bool
	}{
		"none":                            {tenure{seen: 5 * time.Hour}, time.Time{}, 5 * time.Hour, false},
		"first":                           {tenure{seen: 5 * time.Hour}, now.Add(-10 * time.Hour), 90 * time.Hour, true},
		"first, older than what is known": {tenure{seen: 95 * time.Hour}, now.Add(-10 * time.Hour), 95 * time.Hour, false},
		"first, clock was set back":       {tenure{seen: 5 * time.Hour}, now.Add(10 * time.Hour), running, true},
		"the same": {tenure{seen: 5 * time.Hour, handshake: instantOf(now.Add(-10 * time.Hour))}, now.Add(-10 * time.Hour),
			5 * time.Hour, false},
		"another": {tenure{seen: 5 * time.Hour, handshake: instantOf(now.Add(-99 * time.Hour))}, now.Add(-time.Minute),
			running - time.Minute, true},
		"another, clock was set forward": {tenure{seen: 5 * time.Hour, handshake: instantOf(now.AddDate(-1, 0, 0))}, now.AddDate(-1, 0, 1),
			surveyed, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.before
			require.Equal(t, test.news, got.witness(test.handshake, now, running, surveyed))
			require.Equal(t, test.seen, got.seen)
		})
	}
}
