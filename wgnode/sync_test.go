package wgnode

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

func TestSyncRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		_, err := r.PutAccount(t.Context(), AccountSpec{ID: "acme"})
		require.NoError(t, err)
		key := r.add(t, PeerSpec{DataCap: capOf(1000), Account: "acme"}).PublicKey
		r.dataplane.move(key, quota.Download, 400)
		time.Sleep(DefaultCheckpointPeriod + time.Second)
		r.drain()
		repairs, err := r.Sync(t.Context())
		require.NoError(t, err)
		require.Empty(t, repairs)

		r.dataplane.lose(key)
		synctest.Wait()
		events := r.drain()
		require.Equal(t, []EventKind{Repaired}, kindsOf(events), "at once when the dataplane says so")
		require.Equal(t, key, events[0].Peer)
		require.Equal(t, quota.Bytes(400), r.used(t, OfPeer(key)).Used)

		r.dataplane.mu.Lock()
		r.dataplane.accounts["stray"] = &fakeAccount{AccountState{ID: "stray"}, quota.NewMeter(quota.Counters{}, quota.Budget{}, nil)}
		r.dataplane.accounts["acme"].SpeedLimit.Download = 1_000_000
		r.dataplane.speedLimit.Upload = 8000
		r.dataplane.mu.Unlock()
		time.Sleep(DefaultSyncPeriod)
		synctest.Wait()
		events = r.drain()
		require.Equal(t, []EventKind{Repaired, Repaired, Repaired}, kindsOf(events), "on the period when nobody says so")
		require.Equal(t, "acme", events[0].Account)
		require.Equal(t, "removed stray account", events[1].Detail)
		require.Equal(t, "set limit", events[2].Detail)
		r.sound(t)
	})
}

func TestFailingSyncsAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.drain()
		r.dataplane.setHook(func(_ context.Context, call string) error {
			if call == "Sync" {
				return errInjected
			}
			return nil
		})
		_, err := r.Sync(t.Context())
		require.ErrorIs(t, err, errInjected)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, []EventKind{SyncFailed, ProblemBegan}, r.kinds())
		require.Greater(t, r.dataplane.count("Sync"), 20, "tried again sooner than the period")
		require.Less(t, r.dataplane.count("Sync"), 200)
		r.dataplane.setHook(nil)
		time.Sleep(DefaultSyncPeriod)
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Less(t, time.Since(status.SyncedAt), DefaultSyncPeriod)
	})
}

// TestSyncGivenUp has a caller give up while the dataplane syncs: nothing has failed.
func TestSyncGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.drain()
		ctx, giveUp := context.WithCancel(t.Context())
		r.dataplane.setHook(func(ctx context.Context, call string) error {
			if call == "Sync" {
				giveUp()
				return ctx.Err()
			}
			return nil
		})
		_, err := r.Sync(ctx)
		require.ErrorIs(t, err, context.Canceled)
		r.dataplane.setHook(nil)
		synctest.Wait()
		require.Empty(t, r.kinds())
		r.sound(t)
	})
}

// TestBudgetEventsForStrangersAndFloods has the dataplane name what the node does not know, and more than the inbox holds.
func TestBudgetEventsForStrangersAndFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{DataCap: capOf(1000)}).PublicKey
		notify := r.dataplane.cfg.Notify
		notify(DataplaneEvent{Kind: BudgetReached, Peer: newKey(t)})
		notify(DataplaneEvent{Kind: BudgetReached, Account: "stranger"})
		notify(DataplaneEvent{Kind: BudgetReached})
		notify(DataplaneEvent{Kind: 99, Peer: key})
		synctest.Wait()

		release, err := r.acquire(t.Context())
		require.NoError(t, err)
		for i := range maxPending + 10 {
			var k [32]byte
			k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16)
			notify(DataplaneEvent{Kind: BudgetReached, Peer: k})
		}
		r.dataplane.move(key, quota.Download, 900)
		r.inbox.mu.Lock()
		require.LessOrEqual(t, len(r.inbox.pending.peers), maxPending)
		r.inbox.mu.Unlock()
		release()
		synctest.Wait()
		require.Contains(t, kindsOf(r.usageEvents()), UsageThreshold)
	})
}
