package wgnode

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// usageEvents keeps the events that are about usage.
func (r *rig) usageEvents() []Event {
	var events []Event
	for _, e := range r.drain() {
		switch e.Kind {
		case UsageThreshold, CapReached, PeriodStarted:
			events = append(events, e)
		}
	}
	return events
}

func kindsOf(events []Event) []EventKind {
	var kinds []EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// TestCapOfPeer follows a peer to its cap, by packets of sizes that do not divide it.
func TestCapOfPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{DataCap: capOf(1000)}).PublicKey
		require.True(t, r.dataplane.move(key, quota.Download, 500))
		require.True(t, r.dataplane.move(key, quota.Upload, 300))
		synctest.Wait()
		events := r.usageEvents()
		require.Equal(t, []EventKind{UsageThreshold}, kindsOf(events))
		require.Equal(t, 80, events[0].Percent)
		require.Equal(t, key, events[0].Peer)
		require.Equal(t, quota.Bytes(800), events[0].Usage.Used)

		require.True(t, r.dataplane.move(key, quota.Upload, 150))
		require.False(t, r.dataplane.move(key, quota.Upload, 51), "no packet past the cap")
		synctest.Wait()
		require.Contains(t, kindsOf(r.usageEvents()), CapReached)
		u := r.used(t, OfPeer(key))
		require.Equal(t, quota.Bytes(950), u.Used)
		require.True(t, u.Depleted)
		require.Equal(t, quota.Counters{Download: 500, Upload: 450}, u.Counters)
		require.False(t, r.dataplane.move(key, quota.Upload, 1), "cut off is cut off")

		require.NoError(t, r.TopUp(t.Context(), OfPeer(key), 1000))
		require.True(t, r.dataplane.move(key, quota.Upload, 1050))
		require.False(t, r.dataplane.move(key, quota.Upload, 1))
		synctest.Wait()
		require.Equal(t, []EventKind{UsageThreshold, UsageThreshold, CapReached}, kindsOf(r.usageEvents()))
		require.NoError(t, r.ResetUsage(t.Context(), OfPeer(key)))
		require.True(t, r.dataplane.move(key, quota.Upload, 2000))
		require.False(t, r.dataplane.move(key, quota.Upload, 1))
		r.sound(t)
	})
}

func TestCapOfAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		_, err := r.PutAccount(t.Context(), AccountSpec{ID: "acme", DataCap: quota.Cap{
			Bytes: 1000, AtEnd: quota.Throttle, ThrottleUpload: 64_000, Thresholds: []int{50},
		}})
		require.NoError(t, err)
		a, b := r.add(t, PeerSpec{Account: "acme"}).PublicKey, r.add(t, PeerSpec{Account: "acme"}).PublicKey
		r.dataplane.move(a, quota.Upload, 600)
		r.dataplane.move(b, quota.Download, 600)
		synctest.Wait()
		events := r.usageEvents()
		require.Equal(t, []EventKind{UsageThreshold, CapReached}, kindsOf(events))
		for _, e := range events {
			require.Equal(t, "acme", e.Account)
			require.Zero(t, e.Peer)
		}
		require.True(t, r.dataplane.move(a, quota.Upload, 600), "a throttled account is slow, and passes")
		u := r.used(t, OfAccount("acme"))
		require.Equal(t, quota.Bytes(1800), u.Used)
		require.True(t, u.Depleted)
		state, _ := r.dataplane.account("acme")
		require.Equal(t, shaping.Limit{Upload: 64_000}, state.Throttle)
	})
}

// TestPeriods lets days pass, some with nobody looking.
func TestPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		r := startRig(t)
		daily := quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Daily, Hour: 6}}
		key := r.add(t, PeerSpec{DataCap: daily}).PublicKey
		require.True(t, r.dataplane.move(key, quota.Download, 1000))
		require.False(t, r.dataplane.move(key, quota.Download, 1))
		time.Sleep(6*time.Hour - time.Nanosecond)
		synctest.Wait()
		require.False(t, r.dataplane.move(key, quota.Download, 1))
		require.NotContains(t, kindsOf(r.usageEvents()), PeriodStarted)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		events := r.usageEvents()
		require.Equal(t, []EventKind{PeriodStarted}, kindsOf(events))
		require.Equal(t, quota.Bytes(1000), events[0].Ended.Used)
		require.Zero(t, events[0].Usage.Used)
		require.True(t, r.dataplane.move(key, quota.Download, 1000))

		time.Sleep(48 * time.Hour)
		synctest.Wait()
		require.Equal(t, []EventKind{UsageThreshold, UsageThreshold, CapReached, PeriodStarted, PeriodStarted}, kindsOf(r.usageEvents()))

		require.True(t, r.dataplane.move(key, quota.Download, 700))
		require.NoError(t, r.Close())
		r.drain()
		time.Sleep(5 * 24 * time.Hour)
		next := newRig(t, r.store)
		require.NoError(t, next.Start(t.Context()))
		events = next.drain()
		require.Equal(t, []EventKind{NodeStarted, PeriodStarted}, kindsOf(events), "days that nobody saw are one event")
		require.Equal(t, quota.Bytes(700), events[1].Ended.Used)
		require.Zero(t, next.used(t, OfPeer(key)).Used)
		require.Equal(t, uint64(2700), next.used(t, OfPeer(key)).Counters.Download)
		next.sound(t)
	})
}

func TestRollingWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		rolling := quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Rolling, Window: time.Hour}}
		key := r.add(t, PeerSpec{DataCap: rolling}).PublicKey
		require.True(t, r.dataplane.move(key, quota.Download, 1000))
		time.Sleep(50 * time.Minute)
		require.False(t, r.dataplane.move(key, quota.Download, 1))
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		require.True(t, r.dataplane.move(key, quota.Download, 1000), "what left the window makes room")
		r.sound(t)
	})
}

// TestUsageSurvives kills a node, by taking its store away from it, and closes another one cleanly.
func TestUsageSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		_, err := r.PutAccount(t.Context(), AccountSpec{ID: "acme", DataCap: capOf(5000)})
		require.NoError(t, err)
		key := r.add(t, PeerSpec{Account: "acme", DataCap: capOf(1000)}).PublicKey
		r.dataplane.move(key, quota.Download, 600)
		time.Sleep(DefaultCheckpointPeriod + time.Second)
		synctest.Wait()
		r.dataplane.move(key, quota.Download, 300) // after the checkpoint

		killed := newFaultyStore()
		require.NoError(t, killed.Commit(t.Context(), copyOf(t, r.store)))
		k := newRig(t, killed)
		require.NoError(t, k.Start(t.Context()))
		require.Equal(t, quota.Bytes(600), k.used(t, OfPeer(key)).Used, "what passed since the checkpoint is lost, no more")
		require.Equal(t, quota.Bytes(600), k.used(t, OfAccount("acme")).Used)
		require.True(t, k.dataplane.move(key, quota.Download, 400))
		require.False(t, k.dataplane.move(key, quota.Download, 1))

		c := r.again(t)
		require.Equal(t, quota.Bytes(900), c.used(t, OfPeer(key)).Used)
		require.Equal(t, quota.Bytes(900), c.used(t, OfAccount("acme")).Used)
		require.Equal(t, uint64(900), c.used(t, OfPeer(key)).Counters.Download)
		require.True(t, c.dataplane.move(key, quota.Download, 100))
		require.False(t, c.dataplane.move(key, quota.Download, 1))
		synctest.Wait()
		require.Equal(t, []EventKind{UsageThreshold, CapReached}, kindsOf(c.usageEvents()), "the 80 %% were told before")
	})
}

func copyOf(t *testing.T, s Store) []Mutation {
	t.Helper()
	var batch []Mutation
	for r, err := range s.Load(t.Context()) {
		require.NoError(t, err)
		batch = append(batch, put(r))
	}
	return batch
}

func TestCheckpointsWriteWhatMovedOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		moving := r.add(t, PeerSpec{}).PublicKey
		r.add(t, PeerSpec{})
		var written []recordID
		r.store.set(func(batch []Mutation) error {
			for _, m := range batch {
				written = append(written, recordID{m.Kind, m.Key})
			}
			return nil
		}, nil)
		time.Sleep(DefaultCheckpointPeriod * 3)
		synctest.Wait()
		require.Empty(t, written)
		r.dataplane.move(moving, quota.Download, 1)
		time.Sleep(DefaultCheckpointPeriod * 3)
		synctest.Wait()
		require.Equal(t, []recordID{{RecordPeerUsage, moving.String()}}, written)
		r.store.set(nil, nil)
	})
}

func TestFailingCheckpointsAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		r.drain()
		for range 2 {
			r.store.set(func([]Mutation) error { return errInjected }, nil)
			r.dataplane.move(key, quota.Download, 1)
			time.Sleep(DefaultCheckpointPeriod * 5)
			synctest.Wait()
			events := r.drain()
			require.Equal(t, []EventKind{ProblemBegan, CheckpointFailed}, kindsOf(events))
			require.ErrorIs(t, events[1].Err, errInjected)
			r.store.set(nil, nil)
			time.Sleep(DefaultCheckpointPeriod * 2)
			synctest.Wait()
			require.Equal(t, []EventKind{ProblemOver}, r.kinds())
		}
		require.NoError(t, r.Close())
	})
}

func TestStats(t *testing.T) {
	r := startRig(t, func(c *Config) { c.ListenPort = 51820 })
	key := r.add(t, PeerSpec{}).PublicKey
	r.dataplane.move(key, quota.Upload, 10)
	one, err := r.PeerStats(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, quota.Counters{Upload: 10}, one.Counters)
	all, err := r.AllPeerStats(t.Context())
	require.NoError(t, err)
	require.Equal(t, []PeerStats{one}, all)
	_, err = r.PeerStats(t.Context(), newKey(t))
	require.ErrorIs(t, err, ErrNotFound)

	status, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "running", status.State)
	require.Equal(t, "fake", status.Dataplane)
	require.Equal(t, uint16(51820), status.ListenPort)
	require.Equal(t, []string{"moves no packets"}, status.Limitations)
	require.Equal(t, 1, status.Peers)
	require.Equal(t, map[string]uint64{"quota": 0}, status.Dropped)
	require.Len(t, status.Addresses, 2)
	require.Equal(t, "10.0.0.1/8", status.Addresses[0].String())
	require.Equal(t, uint64(1), status.Pool[0].Leased)

	r.dataplane.setHook(func(context.Context, string) error { return errInjected })
	status, err = r.Status(t.Context())
	require.ErrorIs(t, err, errInjected)
	require.Equal(t, 1, status.Peers)
	r.dataplane.setHook(nil)
}
