package wgnode

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		soon := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Hour)})
		also := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Hour)})
		later := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(48 * time.Hour)})
		stays := r.add(t, PeerSpec{})
		r.drain()
		time.Sleep(time.Hour - time.Millisecond)
		synctest.Wait()
		require.Empty(t, r.drain())
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		events := r.drain()
		require.Len(t, events, 2)
		for i, key := range []AddedPeer{soon, also} {
			require.Equal(t, PeerRemoved, events[i].Kind)
			require.Equal(t, RemovalExpired, events[i].Reason)
			require.Equal(t, key.PublicKey, events[i].Peer)
		}
		r.sound(t)

		require.NoError(t, r.Close())
		time.Sleep(48 * time.Hour)
		next := newRig(t, r.store)
		require.NoError(t, next.Start(t.Context()))
		events = next.drain()
		require.Len(t, events, 2)
		require.Equal(t, later.PublicKey, events[1].Peer)
		require.Equal(t, RemovalExpired, events[1].Reason)
		_, err := next.Peer(later.PublicKey)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = next.Peer(stays.PublicKey)
		require.NoError(t, err)
		next.sound(t)
	})
}

// TestDeadlinesAreMetAtOnce looks at what is due long before the first periodic task is.
func TestDeadlinesAreMetAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24*time.Hour - 5*time.Second)
		r := startRig(t)
		capped, expiring := r.add(t, PeerSpec{}).PublicKey, newKey(t)
		synctest.Wait() // the node sleeps until its periodic tasks are due
		r.add(t, PeerSpec{PublicKey: expiring, ExpiresAt: time.Now().Add(2 * time.Second)})
		require.NoError(t, r.SetDataCap(t.Context(), OfPeer(capped), quota.Cap{Bytes: 100, Period: quota.Period{Kind: quota.Daily}}))
		r.drain()
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, []EventKind{PeerRemoved}, r.kinds())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []EventKind{PeriodStarted}, r.kinds())
		require.Zero(t, r.dataplane.count("Sync"))
	})
}

// TestWhatAnAdoptedDataplaneCounted starts a node on a dataplane that went on counting after the last checkpoint.
func TestWhatAnAdoptedDataplaneCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{DataCap: capOf(1000)}).PublicKey
		r.dataplane.move(key, quota.Download, 100)
		require.NoError(t, r.Close())
		next := newRig(t, r.store)
		next.dataplane.adopted.Download, next.dataplane.mute = 750, true
		require.NoError(t, next.Start(t.Context()))
		synctest.Wait()
		require.Equal(t, []EventKind{UsageThreshold}, kindsOf(next.usageEvents()))
		require.Equal(t, quota.Bytes(850), next.used(t, OfPeer(key)).Used)
		require.True(t, next.dataplane.move(key, quota.Download, 150))
		require.False(t, next.dataplane.move(key, quota.Download, 1))
	})
}

// TestBudgetsAreAppliedOnce counts what the dataplane is told.
func TestBudgetsAreAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{DataCap: capOf(1000)}).PublicKey
		require.NoError(t, r.SetDataCap(t.Context(), OfPeer(key), capOf(2000)))
		_, err := r.PutAccount(t.Context(), AccountSpec{ID: "a", DataCap: capOf(2000)})
		require.NoError(t, err)
		require.Equal(t, 3, r.dataplane.count("Apply"))
		r.dataplane.move(key, quota.Download, 100)
		time.Sleep(10 * DefaultCheckpointPeriod)
		synctest.Wait()
		require.Equal(t, 3, r.dataplane.count("Apply"))
		r.dataplane.move(key, quota.Download, 1600) // past the mark: there is a new one
		time.Sleep(10 * DefaultCheckpointPeriod)
		synctest.Wait()
		require.Equal(t, 4, r.dataplane.count("Apply"))

		next := r.again(t)
		time.Sleep(10 * DefaultCheckpointPeriod)
		synctest.Wait()
		require.Zero(t, next.dataplane.count("Apply"))
	})
}

// TestExpiryThatFails lets the store fail when a peer's time has come: the peer goes as soon as the store works again.
func TestExpiryThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Minute)}).PublicKey
		r.store.set(func([]Mutation) error { return errInjected }, nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		_, err := r.Peer(key)
		require.NoError(t, err)
		_, present := r.dataplane.peer(key)
		require.True(t, present, "a removal that failed is undone")
		require.Less(t, r.dataplane.count("Apply"), 40, "a task that fails rests before it is tried again")
		r.store.set(nil, nil)
		time.Sleep(retryDelay)
		synctest.Wait()
		_, err = r.Peer(key)
		require.ErrorIs(t, err, ErrNotFound)
		r.sound(t)
	})
}

// TestManyExpireTogether removes more peers than are removed at one go.
func TestManyExpireTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		expiry := time.Now().Add(time.Minute)
		for range maxDue + 10 {
			r.add(t, PeerSpec{ExpiresAt: expiry})
		}
		time.Sleep(time.Minute + 10*time.Millisecond)
		synctest.Wait()
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Zero(t, status.Peers)
		r.sound(t)
	})
}
