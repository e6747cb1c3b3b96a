package wgnode

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

// What all peers moved never gets less: not when one is removed, nor when the node starts again with what it knows of them.
func TestTotalsPassed(t *testing.T) {
	r := startRig(t)
	gone, stays := newKey(t), newKey(t)
	r.add(t, PeerSpec{PublicKey: gone})
	r.add(t, PeerSpec{PublicKey: stays})
	require.Zero(t, r.Totals().Passed)
	require.True(t, r.dataplane.move(gone, quota.Download, 1000))
	require.True(t, r.dataplane.move(stays, quota.Upload, 70))
	require.NoError(t, r.Checkpoint(t.Context()))
	require.Equal(t, quota.Counters{Download: 1000, Upload: 70}, r.Totals().Passed)

	require.True(t, r.dataplane.move(gone, quota.Download, 500))
	require.NoError(t, r.RemovePeer(t.Context(), gone))
	require.Equal(t, quota.Counters{Download: 1500, Upload: 70}, r.Totals().Passed, "with what it moved last")

	r.dataplane.lose(stays)
	_, err := r.Sync(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Checkpoint(t.Context()))
	require.Equal(t, quota.Counters{Download: 1500, Upload: 70}, r.Totals().Passed)

	require.NoError(t, r.Close())
	require.Equal(t, quota.Counters{Download: 1500, Upload: 70}, r.Totals().Passed, "a closed node still tells")
	next := newRig(t, r.store)
	require.NoError(t, next.Start(t.Context()))
	require.NoError(t, next.Checkpoint(t.Context()))
	require.Zero(t, next.Totals().Passed, "what an earlier node has counted")
}

func TestTotals(t *testing.T) {
	r := startRig(t)
	require.NoError(t, r.Checkpoint(t.Context()))
	_, err := r.PutAccount(t.Context(), AccountSpec{ID: "acme"})
	require.NoError(t, err)
	first := r.add(t, PeerSpec{Account: "acme", DataCap: capOf(100)})
	suspended, expired := r.add(t, PeerSpec{}), r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Second), GracePeriod: time.Hour})
	require.NoError(t, r.Suspend(t.Context(), OfPeer(suspended.PublicKey)))
	require.Eventually(t, func() bool { return r.Totals().Expired == 1 }, 10*time.Second, 10*time.Millisecond)
	r.dataplane.move(first.PublicKey, quota.Download, 100)
	require.NoError(t, r.Checkpoint(t.Context()))
	require.NoError(t, r.RemovePeer(t.Context(), expired.PublicKey))

	got := r.Totals()
	require.Equal(t, "running", got.State)
	require.Equal(t, []int{1, 1, 0, 1}, []int{got.Active, got.Suspended, got.Expired, got.Accounts})
	require.Len(t, got.Connections, 7)
	require.Equal(t, 1, got.Connections[ConnectionInactive])
	require.Equal(t, EventTotals{Peers: 3}, got.Events[PeerAdded])
	require.Equal(t, EventTotals{Accounts: 1}, got.Events[AccountAdded])
	require.Equal(t, EventTotals{Peers: 1}, got.Events[CapReached])
	require.Equal(t, EventTotals{Node: 1}, got.Events[NodeStarted])
	require.Len(t, got.Events, int(KeyOverlapEnded)-1)
	require.Equal(t, map[RemovalReason]uint64{RemovalRequested: 1, RemovalExpired: 0, RemovalIdle: 0}, got.Removals)
	require.GreaterOrEqual(t, got.Checkpoints.Runs, uint64(2))
	require.Zero(t, got.Checkpoints.Failures)
	require.Positive(t, got.Checkpoints.Time)
	require.False(t, got.CheckpointedAt.IsZero())

	r.store.set(func([]Mutation) error { return errInjected }, nil)
	r.dataplane.move(first.PublicKey, quota.Upload, 1)
	require.ErrorIs(t, r.SetDataCap(t.Context(), OfPeer(first.PublicKey), quota.Cap{}), errInjected)
	require.ErrorIs(t, r.Checkpoint(t.Context()), errInjected)
	require.Positive(t, r.Totals().Checkpoints.Failures)
	r.store.set(nil, nil)
}

func TestTotalsCountWhatReadersMiss(t *testing.T) {
	r := startRig(t, func(c *Config) { c.EventBuffer = 2 })
	for range 4 {
		r.add(t, PeerSpec{})
	}
	e, err := r.events.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, Missed, e.Kind)
	require.Equal(t, e.Count, r.Totals().Missed)
}

func TestTotalsBeforeStart(t *testing.T) {
	r := newRig(t, newFaultyStore())
	got := r.Totals()
	require.Equal(t, "idle", got.State)
	require.Zero(t, got.Active)
}

func TestProblemKinds(t *testing.T) {
	kinds := ProblemKinds()
	require.Equal(t, DataplaneFailing, kinds[0])
	require.Equal(t, FormerKeyKept, kinds[len(kinds)-1])
	for _, k := range kinds {
		require.NotEmpty(t, k.Area(), k)
	}
}

// BenchmarkTotals is what a scrape asks of a node.
func BenchmarkTotals(b *testing.B) {
	n := filled(b, 10_000)
	if err := n.Checkpoint(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if t := n.Totals(); t.Active != 10_000 {
			b.Fatal(t.Active)
		}
	}
}
