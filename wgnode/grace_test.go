package wgnode

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

func TestGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		spec := PeerSpec{PublicKey: newKey(t), ExpiresAt: time.Now().Add(time.Hour), GracePeriod: 2 * time.Hour, DataCap: capOf(1000)}
		p := r.add(t, spec)
		key, s := p.PublicKey, OfPeer(p.PublicKey)
		require.True(t, r.dataplane.move(key, quota.Upload, 700))
		r.drain()
		time.Sleep(time.Hour - time.Millisecond)
		synctest.Wait()
		require.True(t, r.inDataplane(key))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		events := r.drain()
		require.Equal(t, []EventKind{PeerExpired}, kindsOf(events))
		require.Equal(t, key, events[0].Peer)
		require.False(t, r.inDataplane(key))
		view := r.get(t, key)
		require.True(t, view.Expired)
		require.False(t, view.Active())
		require.Equal(t, quota.Bytes(700), r.used(t, s).Used)
		again, err := r.AddPeer(t.Context(), spec)
		require.NoError(t, err, "adding it again is no error while it is there")
		require.False(t, again.Created)
		r.sound(t)

		// Extended within the grace period, it is back as it was.
		err = r.SetExpiry(t.Context(), s, time.Now().Add(-time.Minute))
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "is past")
		next := time.Now().Add(time.Hour)
		for range 2 {
			require.NoError(t, r.SetExpiry(t.Context(), s, next))
		}
		events = r.drain()
		require.Equal(t, []EventKind{PeerChanged}, kindsOf(events))
		require.Equal(t, "expiry", events[0].Detail)
		require.True(t, r.get(t, key).Active())
		require.True(t, r.dataplane.move(key, quota.Upload, 300))
		require.False(t, r.dataplane.move(key, quota.Upload, 1))
		r.sound(t)

		time.Sleep(3*time.Hour - time.Millisecond)
		synctest.Wait()
		require.True(t, r.get(t, key).Expired)
		require.NoError(t, r.SetExpiry(t.Context(), s, next), "what is so already is no error, past or not")
		r.drain()
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		events = r.drain()
		require.Equal(t, []EventKind{PeerRemoved}, kindsOf(events))
		require.Equal(t, RemovalExpired, events[0].Reason)
		require.Equal(t, quota.Counters{Upload: 1000}, events[0].Counters)
		r.sound(t)
	})
}

// TestGracePeriodAcrossRestarts has each moment pass while the node runs or is down; an expiry is told once.
func TestGracePeriodAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		seen := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Hour), GracePeriod: 24 * time.Hour}).PublicKey
		unseen := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(3 * time.Hour), GracePeriod: 24 * time.Hour}).PublicKey
		over := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(3 * time.Hour), GracePeriod: time.Minute}).PublicKey
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.True(t, r.get(t, seen).Expired)
		require.NoError(t, r.Close())
		time.Sleep(2 * time.Hour)
		r = newRig(t, r.store)
		require.NoError(t, r.Start(t.Context()))
		events := r.drain()
		require.Equal(t, []EventKind{NodeStarted, PeerExpired, PeerRemoved}, kindsOf(events))
		require.Equal(t, unseen, events[1].Peer)
		require.Equal(t, over, events[2].Peer)
		require.False(t, r.inDataplane(seen))
		require.False(t, r.inDataplane(unseen))
		r.sound(t)
		r = r.again(t)
		require.Equal(t, []EventKind{NodeStarted}, r.kinds(), "it was told")
		require.NoError(t, r.SetExpiry(t.Context(), OfPeer(unseen), time.Time{}))
		require.True(t, r.again(t).inDataplane(unseen))
	})
}

func TestGracePeriodIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "acme"})
		at := time.Now().Add(time.Hour)
		a := r.add(t, PeerSpec{Account: "acme", ExpiresAt: at, GracePeriod: time.Hour}).PublicKey
		b := r.add(t, PeerSpec{Account: "acme", ExpiresAt: at.Add(time.Hour)}).PublicKey
		stays := r.add(t, PeerSpec{Account: "acme"}).PublicKey
		time.Sleep(90 * time.Minute)
		for range 2 {
			require.NoError(t, r.SetGracePeriod(t.Context(), OfAccount("acme"), 3*time.Hour))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.True(t, r.get(t, a).Expired)
		require.True(t, r.get(t, b).Expired)
		require.NoError(t, r.SetGracePeriod(t.Context(), OfPeer(b), time.Minute))
		synctest.Wait()
		_, err := r.Peer(b)
		require.ErrorIs(t, err, ErrNotFound, "a grace period that is past ends at once")
		r.drain()

		applied := r.dataplane.count("Apply")
		require.NoError(t, r.SetExpiry(t.Context(), OfAccount("acme"), time.Now().Add(time.Hour)))
		require.Equal(t, applied+1, r.dataplane.count("Apply"))
		require.Equal(t, []EventKind{PeerChanged, PeerChanged}, r.kinds())
		require.True(t, r.get(t, a).Active())
		require.Equal(t, r.get(t, a).ExpiresAt, r.get(t, stays).ExpiresAt)
		r.sound(t)

		for _, d := range []time.Duration{-1, MaxGracePeriod + 1} {
			require.ErrorIs(t, r.SetGracePeriod(t.Context(), OfPeer(a), d), ErrInvalid)
			_, err = r.AddPeer(t.Context(), PeerSpec{GracePeriod: d})
			require.ErrorContains(t, err, "GracePeriod")
		}
		require.ErrorIs(t, r.SetGracePeriod(t.Context(), OfAccount("none"), 0), ErrNotFound)
		require.ErrorIs(t, r.SetExpiry(t.Context(), OfAccount("none"), at), ErrNotFound)
	})
}

// TestClockSetBack closes a peer too early, because the clock was wrong, and mends that.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Hour), GracePeriod: 24 * time.Hour}).PublicKey
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.False(t, r.inDataplane(key))
		r.drain()
		release, err := r.acquire(t.Context())
		require.NoError(t, err)
		require.NoError(t, r.unlapse(t.Context(), time.Now()), "with the right time nothing happens")
		require.Empty(t, r.drain())
		require.NoError(t, r.unlapse(t.Context(), time.Now().Add(-90*time.Minute)))
		require.Equal(t, "clock set back before expiry", r.drain()[0].Detail)
		require.True(t, r.inDataplane(key))
		r.sound(t)
		release()
	})
}

// TestLapseThatFails has a peer's counters unreadable when its time comes: it is closed as soon as they can be read.
func TestLapseThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Minute), GracePeriod: time.Hour}).PublicKey
		r.dataplane.setHook(func(context.Context, string) error { return errInjected })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.True(t, r.inDataplane(key))
		require.False(t, r.get(t, key).Expired)
		r.dataplane.setHook(nil)
		time.Sleep(retryDelay)
		synctest.Wait()
		require.False(t, r.inDataplane(key))
		require.True(t, r.get(t, key).Expired)
		r.sound(t)
	})
}
