package membership

import (
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
)

func TestOutageIsLoggedOnceAndItsEndOnce(t *testing.T) {
	for _, how := range []fault{lostBefore, lostAfter, silent, late} {
		run(t, nil, func(t *testing.T, r *rig) {
			before := len(r.logs.from(slog.LevelInfo))
			r.fleet.outage(how)
			pass(time.Hour)
			require.Equal(t, Outage, r.State().Phase)
			require.Error(t, r.State().LastError)
			require.Greater(t, r.State().Failures, 100)
			require.NotEqual(t, "closed", r.State().Breaker)
			require.Len(t, r.logs.from(slog.LevelInfo), before+1)

			r.node.set(func(n *fakeNode) { n.status.Peers = 42 })
			r.fleet.heal()
			pass(2*registry.DefaultInterval + DefaultTimeout)
			require.Equal(t, Joined, r.State().Phase)
			require.Equal(t, "closed", r.State().Breaker)
			require.Zero(t, r.State().Failures)
			require.NoError(t, r.State().LastError)
			require.Equal(t, 42, r.fleet.server("fra-1").last.Peers, "the first says how it is now")
			require.Len(t, r.logs.from(slog.LevelInfo), before+2)
		})
	}
}

func TestOneLostCallIsNoOutage(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		before := len(r.logs.from(slog.LevelInfo))
		for range 50 {
			failed := false
			r.fleet.set(func(f *fakeFleet) {
				f.fault = func(string) fault {
					if failed {
						return works
					}
					failed = true
					return lostBefore
				}
			})
			pass(2 * registry.DefaultInterval)
		}
		require.Equal(t, Joined, r.State().Phase)
		require.Len(t, r.logs.from(slog.LevelInfo), before)
		require.InDelta(t, 50, r.State().Failed, 2)
	})
}

// An outage of a month: nothing grows, neither in memory nor on the disk, and no more is asked than while all is well.
func TestOutageOfAMonthGrowsNothing(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.fleet.forget = true
		r.fleet.outage(lostBefore)
		r.usage.append(100)
		pass(time.Hour)
		content, err := os.ReadFile(r.cfg.StateFile)
		require.NoError(t, err)
		before, tried, goroutines := heap(), r.State().Failed, runtime.NumGoroutine()
		r.logs.forget()

		const month = 30 * 24 * time.Hour
		pass(month)
		require.Empty(t, r.logs.from(slog.LevelInfo))
		require.Less(t, heap(), before+256<<10)
		require.Equal(t, goroutines, runtime.NumGoroutine())
		after, err := os.ReadFile(r.cfg.StateFile)
		require.NoError(t, err)
		require.Equal(t, string(content), string(after))
		require.Less(t, r.State().Failed-tried, int64(month/registry.DefaultInterval))
		require.Greater(t, r.State().Failed-tried, int64(month/registry.DefaultInterval)/2)

		r.fleet.heal()
		pass(3 * time.Minute)
		require.Equal(t, Joined, r.State().Phase)
		r.requireReported(0)
		said := r.logs.from(slog.LevelInfo)
		require.Contains(t, said, "fleet can be reached again")
		// A report may have failed before a heartbeat did, and was complained of then: that is over, too.
		require.Subset(t, []string{"fleet can be reached again", "usage is reported again"}, said)
		require.LessOrEqual(t, len(said), 2)
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (l *logged) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = nil
}

// Retries, which are calls that come sooner than regular ones would, are a fifth of those at most, and two more.
func TestRetriesHaveABudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPacer(func() float64 { return rapid.Float64Range(0, 0.999999).Draw(t, "random") })
		interval := time.Duration(rapid.Int64Range(int64(MinInterval), int64(MaxInterval)).Draw(t, "interval"))
		soonest := time.Duration(float64(interval) * (1 - jitter))
		regular, retries, failures := 0, 0, 0
		for range rapid.IntRange(1, 200).Draw(t, "calls") {
			var wait time.Duration
			if rapid.Bool().Draw(t, "failed") {
				failures++
				wait = p.afterFailure(failures, interval)
				require.LessOrEqual(t, wait, 2*interval)
			} else {
				failures = 0
				wait = p.regular(interval)
				require.InDelta(t, interval, wait, float64(interval)*jitter+1)
			}
			if wait < soonest-time.Nanosecond {
				retries++
			} else {
				regular++
			}
			require.LessOrEqual(t, float64(retries), maxRetries+retryShare*float64(regular)+1e-9)
		}
	})
}

// herd runs many members of one fleet in a bubble of their own time.
func herd(t *testing.T, n int, test func(t *testing.T, fleet *fakeFleet, members []*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fleet := newFakeFleet()
		fleet.delay = 20 * time.Millisecond
		members := make([]*rig, n)
		for i := range members {
			members[i] = newRig(t, fleet, "n-"+time.Duration(i).String())
			members[i].usage.perChunk = 10
			members[i].start()
		}
		defer func() {
			var stopping sync.WaitGroup
			for _, m := range members {
				stopping.Go(func() { _ = m.stopRun() })
			}
			stopping.Wait()
		}()
		test(t, fleet, members)
		require.Empty(t, fleet.broken)
	})
}

// peak returns the most calls in any second since a time.
func (f *fakeFleet) peak(since time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	most, from := 0, 0
	for i, c := range f.calls {
		for c.at.Sub(f.calls[from].at) >= time.Second {
			from++
		}
		if c.at.After(since) {
			most = max(most, i-from+1)
		}
	}
	return most
}

// herdPeak is how many times the steady rate the calls of any second may be when all have the same reason to ask at once.
const herdPeak = 6

func TestAThousandNodesDoNotStampede(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory fails at times with so many in a bubble of synctest, see go.dev/issue/78156")
	}
	const nodes = 1000
	// While all is well, and each has something to report each time.
	steady := nodes*float64(time.Second)/float64(registry.DefaultInterval) + nodes*float64(time.Second)/float64(DefaultUsagePeriod)
	herd(t, nodes, func(t *testing.T, fleet *fakeFleet, members []*rig) {
		step := func(name string, d time.Duration) {
			since := time.Now()
			pass(d)
			peak := fleet.peak(since)
			t.Logf("%s: %d calls in the busiest second, %.1f times the steady rate of %.0f", name, peak, float64(peak)/steady, steady)
			require.Less(t, float64(peak), herdPeak*steady, name)
			fleet.set(func(f *fakeFleet) { f.calls = nil })
		}
		all := func(phase Phase) {
			for _, m := range members {
				require.Equal(t, phase, m.State().Phase)
			}
		}
		step("all start at once", time.Minute)
		all(Joined)
		for _, how := range []fault{lostBefore, silent} {
			fleet.outage(how)
			step("an outage begins", time.Minute)
			for _, m := range members {
				m.usage.append(30)
			}
			step("it goes on", 2*time.Minute)
			all(Outage)
			fleet.heal()
			step("all come back at once", time.Minute)
			all(Joined)
			step("all catch up", time.Minute)
		}
		fleet.set(func(f *fakeFleet) {
			for _, s := range f.servers {
				s.known = false
			}
		})
		step("the fleet has forgotten all", 30*time.Second)
		all(Joined)
		for _, m := range members {
			m.SetDraining(true)
			m.SetDraining(false)
			m.SetDraining(true)
		}
		step("all are drained at once", 20*time.Second)
		for _, m := range members {
			m.requireReported(0)
		}
	})
}
