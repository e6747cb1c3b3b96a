package wgnode

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

func (r *rig) account(t testing.TB, spec AccountSpec) {
	t.Helper()
	_, err := r.PutAccount(t.Context(), spec)
	require.NoError(t, err)
}

func (r *rig) get(t testing.TB, key wgtypes.Key) Peer {
	t.Helper()
	p, err := r.Peer(key)
	require.NoError(t, err)
	return p
}

// inDataplane reports whether the dataplane has a peer.
func (r *rig) inDataplane(key wgtypes.Key) bool {
	_, ok := r.dataplane.peer(key)
	return ok
}

func TestSuspendPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		p := r.add(t, PeerSpec{DataCap: capOf(1000)})
		key, s := p.PublicKey, OfPeer(p.PublicKey)
		require.True(t, r.dataplane.move(key, quota.Download, 400))
		r.drain()
		for range 2 { // the second call changes nothing
			require.NoError(t, r.Suspend(t.Context(), s))
		}
		require.Equal(t, []EventKind{PeerSuspended}, r.kinds())
		require.False(t, r.inDataplane(key))
		require.Equal(t, 2, r.dataplane.count("Apply"))
		view := r.get(t, key)
		require.True(t, view.Suspended)
		require.False(t, view.Active())
		require.Equal(t, p.Addrs, view.Addrs)
		require.Equal(t, quota.Bytes(400), r.used(t, s).Used)
		stats, err := r.PeerStats(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, PeerStats{PublicKey: key, Counters: quota.Counters{Download: 400}}, stats)
		all, err := r.AllPeerStats(t.Context())
		require.NoError(t, err)
		require.Equal(t, []PeerStats{stats}, all)
		_, err = r.AddPeer(t.Context(), PeerSpec{Addrs: p.Addrs[:1]})
		require.Error(t, err, "its address is free")

		// What is set meanwhile is not told to the dataplane, and holds on resumption.
		require.NoError(t, r.SetSpeedLimit(t.Context(), s, shaping.Limit{Upload: 8_000}))
		require.NoError(t, r.TopUp(t.Context(), s, 500))
		require.NoError(t, r.SetPolicy(t.Context(), isolation.Policy{}))
		_, err = r.Sync(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, r.dataplane.count("Apply"))
		r.sound(t)
		again, err := r.AddPeer(t.Context(), PeerSpec{PublicKey: key, SpeedLimit: shaping.Limit{Upload: 8_000}, DataCap: capOf(1000)})
		require.NoError(t, err)
		require.False(t, again.Created)

		r = r.again(t)
		require.True(t, r.get(t, key).Suspended, "a restart keeps it")
		require.False(t, r.inDataplane(key))
		r.sound(t)
		r.drain()
		for range 2 {
			require.NoError(t, r.Resume(t.Context(), s))
		}
		require.Equal(t, []EventKind{PeerResumed}, r.kinds())
		require.True(t, r.get(t, key).Active())
		state, _ := r.dataplane.peer(key)
		require.Equal(t, shaping.Limit{Upload: 8_000}, state.SpeedLimit)
		require.Equal(t, quota.Counters{Download: 400}, state.Counters)
		require.True(t, r.dataplane.move(key, quota.Download, 1100))
		require.False(t, r.dataplane.move(key, quota.Download, 1))
		synctest.Wait()
		require.Equal(t, quota.Bytes(1500), r.used(t, s).Used)
		r.sound(t)
	})
}

func TestSuspendAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "acme", DataCap: capOf(1000)})
		a, b := r.add(t, PeerSpec{Account: "acme"}).PublicKey, r.add(t, PeerSpec{Account: "acme"}).PublicKey
		other := r.add(t, PeerSpec{}).PublicKey
		require.True(t, r.dataplane.move(a, quota.Download, 300))
		require.True(t, r.dataplane.move(b, quota.Upload, 200))
		require.NoError(t, r.Suspend(t.Context(), OfPeer(b)))
		applied := r.dataplane.count("Apply")
		r.drain()
		for range 2 {
			require.NoError(t, r.Suspend(t.Context(), OfAccount("acme")))
		}
		require.Equal(t, applied+1, r.dataplane.count("Apply"))
		events := r.drain()
		require.Equal(t, []EventKind{AccountSuspended}, kindsOf(events))
		require.Equal(t, "acme", events[0].Account)
		require.False(t, r.inDataplane(a))
		require.True(t, r.inDataplane(other))
		view := r.get(t, a)
		require.True(t, view.AccountSuspended)
		require.False(t, view.Suspended)
		account, err := r.Account("acme")
		require.NoError(t, err)
		require.True(t, account.Suspended)

		// A peer that is added, or moved there, is closed; one that is moved away is not. The account may be changed.
		late := r.add(t, PeerSpec{Account: "acme"})
		require.False(t, late.Active())
		require.False(t, r.inDataplane(late.PublicKey))
		require.NoError(t, r.MovePeer(t.Context(), other, "acme"))
		require.False(t, r.inDataplane(other))
		require.NoError(t, r.MovePeer(t.Context(), other, ""))
		require.True(t, r.inDataplane(other))
		r.account(t, AccountSpec{ID: "acme", DataCap: capOf(2000)})
		account, err = r.Account("acme")
		require.NoError(t, err)
		require.True(t, account.Suspended)
		r.sound(t)

		r = r.again(t)
		r.sound(t)
		require.False(t, r.inDataplane(late.PublicKey))
		require.NoError(t, r.Resume(t.Context(), OfAccount("acme")))
		require.NoError(t, r.Resume(t.Context(), OfAccount("acme")))
		require.True(t, r.inDataplane(a))
		require.True(t, r.inDataplane(late.PublicKey))
		require.False(t, r.inDataplane(b), "its own suspension stays")
		require.NoError(t, r.Resume(t.Context(), OfPeer(b)))
		require.True(t, r.dataplane.move(b, quota.Download, 1500))
		require.False(t, r.dataplane.move(a, quota.Download, 1))
		r.sound(t)
		require.Equal(t, quota.Counters{Download: 1500, Upload: 200}, r.used(t, OfPeer(b)).Counters)
		require.Equal(t, quota.Bytes(2000), r.used(t, OfAccount("acme")).Used)
	})
}

func TestSuspendWhatIsNotThere(t *testing.T) {
	r := startRig(t)
	for _, s := range []Subject{OfPeer(newKey(t)), OfAccount("acme"), {}} {
		require.ErrorIs(t, r.Suspend(t.Context(), s), ErrNotFound)
		require.ErrorIs(t, r.Resume(t.Context(), s), ErrNotFound)
	}
	err := r.Suspend(t.Context(), OfAccount("acme"))
	require.EqualError(t, err, `wgnode: suspend account "acme": not found`)
	require.NoError(t, r.Close())
	require.ErrorIs(t, r.Suspend(t.Context(), OfAccount("acme")), ErrClosed)
}

// TestPeriodsGoOnWhileSuspended lets days pass over a suspended peer, some of them while the node is down.
func TestPeriodsGoOnWhileSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, unhurried)
		key := r.add(t, PeerSpec{DataCap: quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Daily}}}).PublicKey
		require.True(t, r.dataplane.move(key, quota.Download, 1000))
		synctest.Wait()
		require.True(t, r.used(t, OfPeer(key)).Depleted)
		require.NoError(t, r.Suspend(t.Context(), OfPeer(key)))
		r.drain()
		applied := r.dataplane.count("Apply")
		time.Sleep(24*time.Hour + time.Second)
		synctest.Wait()
		events := r.drain()
		require.Equal(t, []EventKind{PeriodStarted}, kindsOf(events))
		require.Equal(t, quota.Bytes(1000), events[0].Ended.Used)
		require.False(t, r.used(t, OfPeer(key)).Depleted)
		require.Equal(t, applied, r.dataplane.count("Apply"))
		require.NoError(t, r.Close())
		time.Sleep(72 * time.Hour)
		next := newRig(t, r.store)
		require.NoError(t, next.Start(t.Context()))
		require.Equal(t, []EventKind{NodeStarted, PeriodStarted}, next.kinds())
		require.NoError(t, next.Resume(t.Context(), OfPeer(key)))
		require.True(t, next.dataplane.move(key, quota.Download, 1000))
		require.False(t, next.dataplane.move(key, quota.Download, 1))
		next.sound(t)
	})
}

// TestCapIsReachedBySuspension has the counters that are read on the way out use a cap up.
func TestCapIsReachedBySuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "acme", DataCap: capOf(500)})
		key := r.add(t, PeerSpec{Account: "acme", DataCap: capOf(100)}).PublicKey
		r.dataplane.mute = true
		require.True(t, r.dataplane.move(key, quota.Download, 100))
		r.drain()
		require.NoError(t, r.Suspend(t.Context(), OfAccount("acme")))
		require.Equal(t, []EventKind{UsageThreshold, UsageThreshold, CapReached, AccountSuspended}, r.kinds())
		require.NoError(t, r.ResetUsage(t.Context(), OfPeer(key)))
		require.NoError(t, r.Resume(t.Context(), OfAccount("acme")))
		require.True(t, r.dataplane.move(key, quota.Download, 100))
		require.False(t, r.dataplane.move(key, quota.Download, 1))
		r.sound(t)
	})
}

// TestSuspendedAndThenExpired holds that a suspended peer's time goes on.
func TestSuspendedAndThenExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		at := time.Now().Add(time.Hour)
		plain := r.add(t, PeerSpec{ExpiresAt: at}).PublicKey
		graced := r.add(t, PeerSpec{ExpiresAt: at, GracePeriod: time.Hour}).PublicKey
		for _, key := range []wgtypes.Key{plain, graced} {
			require.NoError(t, r.Suspend(t.Context(), OfPeer(key)))
		}
		r.drain()
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		require.Equal(t, []EventKind{PeerRemoved, PeerExpired}, r.kinds())
		require.NoError(t, r.Resume(t.Context(), OfPeer(graced)))
		require.False(t, r.inDataplane(graced), "its time is over")
		require.NoError(t, r.SetExpiry(t.Context(), OfPeer(graced), time.Time{}))
		require.True(t, r.inDataplane(graced))
		r.sound(t)
	})
}

// TestSuspensionNeedsTheCounters has them unreadable: a peer that cannot be counted stays.
func TestSuspensionNeedsTheCounters(t *testing.T) {
	r := startRig(t)
	key := r.add(t, PeerSpec{}).PublicKey
	r.dataplane.setHook(func(_ context.Context, call string) error {
		if call == "Stats" {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, r.Suspend(t.Context(), OfPeer(key)), errInjected)
	r.dataplane.setHook(nil)
	require.True(t, r.get(t, key).Active())
	r.sound(t)
}

// TestResumptionIsUndone resumes a peer while the dataplane refuses it.
func TestResumptionIsUndone(t *testing.T) {
	r := startRig(t)
	r.account(t, AccountSpec{ID: "acme"})
	key := r.add(t, PeerSpec{Account: "acme"}).PublicKey
	require.NoError(t, r.Suspend(t.Context(), OfAccount("acme")))
	before := imageOf(t, r)
	r.dataplane.setRefuse(func(c Change) error {
		if len(c.SetPeers) > 0 {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, r.Resume(t.Context(), OfAccount("acme")), errInjected)
	require.False(t, r.get(t, key).Active())
	require.Equal(t, before, imageOf(t, r))
	r.sound(t)
	r.dataplane.setRefuse(nil)
	require.NoError(t, r.Resume(t.Context(), OfAccount("acme")))
	r.sound(t)
}
