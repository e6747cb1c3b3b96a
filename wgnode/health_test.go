package wgnode

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// problems are the kinds that the node's status tells.
func (r *rig) problems(t testing.TB) (kinds []ProblemKind) {
	t.Helper()
	for _, p := range r.problemList(t) {
		kinds = append(kinds, p.Kind)
	}
	return kinds
}

func (r *rig) problemList(t testing.TB) []HealthProblem {
	t.Helper()
	status, err := r.Status(t.Context())
	if err != nil {
		require.ErrorIs(t, err, errInjected)
	}
	return status.Problems
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// requireBegan asserts that just one problem was told to begin, and requireOver that it is over.
func (r *rig) requireBegan(t testing.TB, kind ProblemKind, since time.Time) HealthProblem {
	t.Helper()
	list := r.problemList(t)
	require.Len(t, list, 1)
	require.Equal(t, kind, list[0].Kind)
	require.True(t, since.Equal(list[0].Since), "%v, and not %v", list[0].Since, since)
	var told []HealthProblem
	for _, e := range r.drain() {
		if e.Kind == ProblemBegan {
			told = append(told, e.Problem)
		}
	}
	require.Len(t, told, 1)
	require.Equal(t, kind, told[0].Kind)
	require.True(t, since.Equal(told[0].Since))
	return list[0]
}

func (r *rig) requireOver(t testing.TB, kind ProblemKind) {
	t.Helper()
	require.Empty(t, r.problems(t))
	var told []ProblemKind
	for _, e := range r.drain() {
		if e.Kind == ProblemOver {
			told = append(told, e.Problem.Kind)
		}
	}
	require.Equal(t, []ProblemKind{kind}, told)
}

func failing(calls ...string) func(context.Context, string) error {
	return func(_ context.Context, call string) error {
		if slices.Contains(calls, call) {
			return errInjected
		}
		return nil
	}
}

func TestNoProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.add(t, PeerSpec{})
		pass(24 * time.Hour)
		require.Empty(t, r.problems(t))
		require.NotContains(t, r.kinds(), ProblemBegan)
	})
}

func TestStoreProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		pass(10 * time.Second)
		r.drain()
		r.store.set(func([]Mutation) error { return errInjected }, nil)
		began := time.Now()
		_, err := r.AddPeer(t.Context(), PeerSpec{})
		require.ErrorIs(t, err, errInjected)
		pass(time.Hour)
		r.dataplane.move(key, quota.Download, 1)
		pass(time.Hour)
		p := r.requireBegan(t, StoreFailing, began)
		require.Contains(t, p.What, "injected fault")
		require.Equal(t, "store", p.Kind.Area())
		r.store.set(nil, nil)
		pass(2 * DefaultCheckpointPeriod)
		r.requireOver(t, StoreFailing)

		// A caller that goes away says nothing about the store.
		ctx, cancel := context.WithCancel(t.Context())
		r.store.set(func([]Mutation) error { cancel(); return ctx.Err() }, nil)
		_, err = r.AddPeer(ctx, PeerSpec{})
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, r.problems(t))
		r.store.set(nil, nil)
	})
}

func TestDataplaneProblem(t *testing.T) {
	for _, call := range []string{"Sync", "Stats"} {
		synctest.Test(t, func(t *testing.T) {
			r := startRig(t)
			pass(time.Second)
			r.drain()
			r.dataplane.setHook(failing(call))
			failed := time.Now()
			pass(DefaultSyncPeriod + lookPeriod)
			list := r.problemList(t)
			require.Len(t, list, 1, call)
			require.Equal(t, DataplaneFailing, list[0].Kind)
			require.WithinRange(t, list[0].Since, failed, failed.Add(DefaultSyncPeriod), call)
			require.Contains(t, list[0].What, "injected fault")
			pass(time.Hour)
			again := r.requireBegan(t, DataplaneFailing, list[0].Since)
			require.Equal(t, "interface", again.Kind.Area())
			r.dataplane.setHook(nil)
			pass(DefaultSyncPeriod)
			r.requireOver(t, DataplaneFailing)
		})
	}
}

// TestContestedProblem has somebody take away a peer again and again.
func TestContestedProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		pass(time.Second)
		r.drain()
		began := time.Now()
		for range 10 { // at once
			r.dataplane.lose(key)
			pass(time.Second)
		}
		for range contestedTimes - 1 {
			r.dataplane.lose(key)
			pass(contestedRest - time.Minute)
			require.Empty(t, r.problems(t), "it may be mended for good")
		}
		r.dataplane.lose(key)
		pass(0)
		p := r.requireBegan(t, InterfaceContested, began)
		require.Contains(t, p.What, "in 3 different minutes")
		require.Contains(t, p.What, "set peer")
		pass(contestedRest - time.Second)
		require.Equal(t, []ProblemKind{InterfaceContested}, r.problems(t))
		pass(2 * time.Second)
		r.requireOver(t, InterfaceContested)
	})
}

// TestDataplanesProblems has the dataplane tell of two, of which one ends.
func TestDataplanesProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		pass(time.Second)
		began := time.Now().Add(-time.Hour)
		r.dataplane.mu.Lock()
		r.dataplane.problems = []HealthProblem{{Kind: UplinkDown, What: "b"}, {Kind: ForwardingOff, What: "a", Since: began}}
		r.dataplane.mu.Unlock()
		pass(lookPeriod)
		list := r.problemList(t)
		require.Equal(t, []ProblemKind{ForwardingOff, UplinkDown}, r.problems(t), "in order")
		require.True(t, list[0].Since.Equal(began), "as the dataplane says")
		require.WithinRange(t, list[1].Since, time.Now().Add(-lookPeriod), time.Now())
		r.dataplane.mu.Lock()
		r.dataplane.problems = []HealthProblem{{Kind: UplinkDown, What: "c"}}
		r.dataplane.mu.Unlock()
		_, err := r.Sync(t.Context())
		require.NoError(t, err)
		pass(DefaultCheckpointPeriod)
		after := r.problemList(t)
		require.Equal(t, []HealthProblem{{UplinkDown, "c", list[1].Since}}, after, "after a sync at once")
	})
}

// TestClockJumps sets the clock on the wall under way: back, and right again.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFaultyStore())
		var offset time.Duration
		r.health.clock.wall = func(now time.Time) time.Time { return wallClock(now).Add(offset) }
		require.NoError(t, r.Start(t.Context()))
		set := func(by time.Duration) {
			release, err := r.acquire(t.Context())
			require.NoError(t, err)
			offset += by
			release()
			pass(DefaultCheckpointPeriod)
		}
		pass(time.Minute)
		r.drain()
		set(clockBound)
		require.Empty(t, r.problems(t))
		set(-time.Minute)
		began := r.problemList(t)[0].Since
		require.WithinRange(t, began, time.Now().Add(-DefaultCheckpointPeriod), time.Now())
		require.Contains(t, r.requireBegan(t, ClockJumped, began).What, "set back by 1m0s")
		pass(clockRest - 2*DefaultCheckpointPeriod)
		require.Equal(t, []ProblemKind{ClockJumped}, r.problems(t))
		set(time.Hour)
		require.Contains(t, r.problemList(t)[0].What, "set forward by 1h0m0s")
		require.True(t, r.problemList(t)[0].Since.Equal(began))
		pass(clockRest)
		r.requireOver(t, ClockJumped)
	})
}

// TestClockBehind starts a node an hour before the time at which it was stopped.
func TestClockBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		r.dataplane.move(key, quota.Upload, 1)
		pass(DefaultCheckpointPeriod)
		require.NoError(t, r.Close())
		r = newRig(t, r.store)
		r.health.clock.wall = func(now time.Time) time.Time { return wallClock(now).Add(-time.Hour) }
		began := time.Now()
		require.NoError(t, r.Start(t.Context()))
		pass(time.Second)
		require.Contains(t, r.requireBegan(t, ClockBehind, began).What, "set the clock")
		pass(time.Hour)
		r.requireOver(t, ClockBehind)
	})
}

// try is a handshake that a peer begins, and the node's answer that it does not get.
func (f *fakeDataplane) try(key wgtypes.Key, peers, nodes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outer == nil {
		f.outer = make(map[wgtypes.Key]quota.Counters)
	}
	c := f.outer[key]
	f.outer[key] = quota.Counters{
		Upload: c.Upload + peers*initiationSize, Download: c.Download + peers*responseSize + nodes*initiationSize,
	}
}

// TestUnansweredHandshakes has two peers ask in vain, until one is answered; and once more, until they give up.
func TestUnansweredHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		a, b := r.add(t, PeerSpec{}).PublicKey, r.add(t, PeerSpec{}).PublicKey
		pass(lookPeriod)
		r.drain()
		state := func(key wgtypes.Key) ConnectionState {
			q, err := r.PeerQuality(key)
			require.NoError(t, err)
			return q.State
		}
		require.Equal(t, ConnectionNever, state(a))
		ask := func() {
			r.dataplane.try(a, 1, 0)
			pass(lookPeriod)
		}
		ask()
		began := time.Now()
		require.Empty(t, r.problems(t), "it may be under way")
		require.Equal(t, ConnectionUnreachable, state(a))
		require.Equal(t, ConnectionNever, state(b))
		r.dataplane.try(b, 2, 0)
		ask()
		list := r.problemList(t)
		require.Len(t, list, 1)
		require.WithinRange(t, list[0].Since, began.Add(-lookPeriod), began)
		p := r.requireBegan(t, HandshakesUnanswered, list[0].Since)
		require.Contains(t, p.What, "2 asked for one")
		require.True(t, r.dataplane.shake(b))
		pass(lookPeriod)
		r.requireOver(t, HandshakesUnanswered)
		require.Equal(t, ConnectionIdle, state(b))

		pass(sessionLife + lookPeriod)
		require.Equal(t, ConnectionStale, state(b))
		for range 3 {
			ask()
		}
		require.Equal(t, []ProblemKind{HandshakesUnanswered}, r.problems(t))
		pass(sessionLife + lookPeriod)
		require.Empty(t, r.problems(t), "nobody asks any more")
		require.Equal(t, ConnectionNever, state(a))
	})
}

// TestCeasedHandshakes has three peers lose their sessions at once, and the node try to reach one of them.
func TestCeasedHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		var keys []wgtypes.Key
		for range ceasedTogether {
			keys = append(keys, r.add(t, PeerSpec{}).PublicKey)
		}
		for _, key := range keys {
			pass(30 * time.Second)
			require.True(t, r.dataplane.shake(key))
		}
		last := time.Now()
		pass(sessionLife + 2*lookPeriod)
		r.drain()
		require.Empty(t, r.problems(t), "they may all be off")
		r.dataplane.try(keys[1], 0, 2)
		pass(lookPeriod)
		r.requireBegan(t, HandshakesCeased, last.Add(sessionLife))
		q, err := r.PeerQuality(keys[1])
		require.NoError(t, err)
		require.Equal(t, ConnectionUnreachable, q.State)
		require.Zero(t, q.Handshakes, "the peer may be off: that says nothing about loss")
		pass(time.Hour)
		require.Equal(t, []ProblemKind{HandshakesCeased}, r.problems(t))
		r.dataplane.shake(keys[0])
		pass(lookPeriod)
		r.requireOver(t, HandshakesCeased)
	})
}
