package kernel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// TestQuotaEvents has a peer of each family pass its mark and then its cap, without anyone looking: the kernel says so.
func TestQuotaEvents(t *testing.T) {
	netns.Require(t)
	eachDriver(t, func(t *testing.T, driver kernel.Driver) {
		r := newRig(t, driver)
		t.Cleanup(func() { require.NoError(t, r.Close()) })
		r.serve(t, server4, server6)
		n := newNeighbour(t, r.cfg, 10)
		n.dp.SetPoll(time.Hour)
		events := make(chan wgnode.DataplaneEvent, 16)
		n.cfg.Notify = func(e wgnode.DataplaneEvent) { events <- e }
		budget := quota.Budget{Limited: true, Limit: 1 << 20, Mark: 1 << 19}
		n.state.Peers[0].Budget = budget
		n.start(t)
		p := newPhone(t, r, n.client)
		key := n.state.Peers[0].PublicKey
		reached := func(end uint64) {
			t.Helper()
			patience := time.After(time.Minute)
			for {
				select {
				case e := <-events:
					if e.Kind != wgnode.BudgetReached {
						continue
					}
					require.Equal(t, key, e.Peer)
					stats, err := n.dp.Stats(t.Context(), wgnode.StatsQuery{All: true})
					require.NoError(t, err)
					require.GreaterOrEqual(t, stats.Peers[0].Counters.Download+stats.Peers[0].Counters.Upload, end)
					require.LessOrEqual(t, stats.Peers[0].Counters.Download+stats.Peers[0].Counters.Upload, budget.Limit)
					return
				case <-time.After(20 * time.Millisecond):
					p.say(floodRequest)
				case <-patience:
					require.Fail(t, "nobody said so")
				}
			}
		}
		reached(1 << 19)
		budget.Mark = 0
		n.state.Peers[0].Budget = budget
		require.NoError(t, n.dp.Apply(t.Context(), wgnode.Change{SetPeers: n.state.Peers}))
		reached(1<<20 - 70_000) // what does not fit is refused whole
		n.retire(t, p)
	})
}

// TestSyncBeforeEvent has a Sync come between a mark that is passed and the event that says so: nothing is mended, and the mark
// is told of.
func TestSyncBeforeEvent(t *testing.T) {
	netns.Require(t)
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.serve(t, server4, server6)
	n := newNeighbour(t, r.cfg, 10)
	reached := make(chan wgnode.DataplaneEvent, 16)
	n.cfg.Notify = func(e wgnode.DataplaneEvent) {
		if e.Kind == wgnode.BudgetReached {
			reached <- e
		}
	}
	n.state.Peers[0].Budget = quota.Budget{Limited: true, Limit: 1 << 30, Mark: 1 << 16}
	n.start(t)
	require.NoError(t, n.dp.Deafen())
	p := newPhone(t, r, n.client)
	w := &watched{phone: p}
	require.True(t, w.comes(func() bool {
		p.say(floodRequest)
		stats, err := n.dp.Stats(t.Context(), wgnode.StatsQuery{All: true})
		require.NoError(t, err)
		return stats.Peers[0].Counters.Download > 1<<16
	}))
	repairs, err := n.dp.Sync(t.Context(), n.state)
	require.NoError(t, err)
	require.Empty(t, repairs)
	require.NoError(t, n.dp.LookAtQuotas(t.Context()))
	select {
	case e := <-reached:
		require.Equal(t, n.state.Peers[0].PublicKey, e.Peer)
	case <-time.After(time.Minute):
		require.Fail(t, "nobody said so")
	}
	n.retire(t, p)
}

// retire closes a dataplane and then, when nothing comes any more, a phone: netstack must not close while packets come.
func (n *neighbour) retire(t *testing.T, p *phone) {
	t.Helper()
	require.NoError(t, n.dp.Close())
	for before := ^uint64(0); before != p.received.Load(); time.Sleep(200 * time.Millisecond) {
		before = p.received.Load()
	}
	p.close()
}
