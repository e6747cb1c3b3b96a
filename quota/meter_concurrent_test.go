package quota_test

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

const takers = 8

// hammer has many goroutines take packets until stop says so, and returns the bytes that passed in each direction.
func hammer(m *quota.Meter, largest int, stop func(taken int) bool) quota.Counters {
	var down, up atomic.Uint64
	var wg sync.WaitGroup
	for i := range takers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for taken := 0; !stop(taken); taken++ {
				n := rng.IntN(largest) + 1
				d, passed := quota.Download, &down
				if rng.IntN(2) == 0 {
					d, passed = quota.Upload, &up
				}
				if m.Take(d, n) != quota.Refuse {
					passed.Add(uint64(n))
				}
				if taken%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	return quota.Counters{Download: down.Load(), Upload: up.Load()}
}

func TestMeterConcurrentBlock(t *testing.T) {
	for _, counted := range []quota.Counted{quota.CountBoth, quota.CountDownload, quota.CountUpload} {
		for range 20 {
			const limit, mark = 3_000_000, 1_000_000
			var marks, depletions atomic.Int32
			var end quota.Crossing
			m := quota.NewMeter(quota.Counters{}, quota.Budget{Limited: true, Limit: limit, Mark: mark, Counted: counted}, func(c quota.Crossing) {
				if c.Depleted {
					depletions.Add(1)
					end = c
				} else {
					marks.Add(1)
				}
			})
			passed := hammer(m, 1500, func(int) bool { return m.Blocked() })
			require.Equal(t, passed, m.Counters(), "what passed is what is counted")
			require.LessOrEqual(t, passed.Of(counted), uint64(limit))
			require.Greater(t, passed.Of(counted), uint64(limit-1500), "cut off no earlier than a packet too large")
			require.EqualValues(t, 1, marks.Load())
			require.EqualValues(t, 1, depletions.Load())
			require.Equal(t, passed.Of(counted), end.Counter)
		}
	}
}

func TestMeterConcurrentOneByteAtATime(t *testing.T) {
	const limit = 50_000
	m := quota.NewMeter(quota.Counters{}, limited(limit), nil)
	passed := hammer(m, 1, func(int) bool { return m.Blocked() })
	require.Equal(t, uint64(limit), passed.Of(quota.CountBoth))
	require.Equal(t, passed, m.Counters())
}

// TestMeterConcurrentBudgets raises the limit each time that it is reached, changes it to what it is meanwhile, and
// watches that the counter never passes the highest limit that was set.
func TestMeterConcurrentBudgets(t *testing.T) {
	const step, steps = 200_000, 40
	var m *quota.Meter
	var depletions atomic.Int64
	var highest atomic.Uint64
	m = quota.NewMeter(quota.Counters{}, quota.Budget{Limited: true, Limit: step, Mark: step / 2}, func(c quota.Crossing) {
		if !c.Depleted {
			return
		}
		if n := uint64(depletions.Add(1)); n < steps {
			highest.Store((n + 1) * step)
			m.SetBudget(quota.Budget{Limited: true, Limit: (n + 1) * step, Mark: n*step + step/2})
		}
	})
	highest.Store(step)

	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			// The counter first: the limit may only have grown since.
			if counter := m.Counters().Of(quota.CountBoth); counter > highest.Load() {
				t.Errorf("counter %d is past the limit", counter)
				return
			}
			runtime.Gosched()
		}
	})
	passed := hammer(m, 1500, func(int) bool { return m.Blocked() && depletions.Load() >= steps })
	close(done)
	watcher.Wait()
	require.Equal(t, passed, m.Counters())
	require.LessOrEqual(t, passed.Of(quota.CountBoth), uint64(step*steps))
	require.Greater(t, passed.Of(quota.CountBoth), uint64(step*steps-1500))
	require.EqualValues(t, steps, depletions.Load(), "once for each limit")
}

// TestMeterConcurrentLowering lowers the limit below the counter with packets under way: none may slip past the change.
func TestMeterConcurrentLowering(t *testing.T) {
	for range 200 {
		m := quota.NewMeter(quota.Counters{}, limited(1<<40), nil)
		var after atomic.Uint64
		var lowered atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for m.Counters().Of(quota.CountBoth) < 20_000 {
				runtime.Gosched()
			}
			m.SetBudget(limited(10_000))
			after.Store(m.Counters().Of(quota.CountBoth))
			lowered.Store(true)
		})
		passed := hammer(m, 1500, func(int) bool { return lowered.Load() })
		wg.Wait()
		require.Equal(t, after.Load(), m.Counters().Of(quota.CountBoth), "a packet passed after the limit was lowered")
		require.Equal(t, passed, m.Counters())
	}
}

// TestMeterConcurrentChurn changes everything about the budget, refunds, and crosses epochs with large packets: the count
// must be that of the packets that passed.
func TestMeterConcurrentChurn(t *testing.T) {
	m := quota.NewMeter(quota.Counters{}, quota.Budget{}, nil)
	done := make(chan struct{})
	var churn sync.WaitGroup
	for i := range 2 {
		churn.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			for {
				select {
				case <-done:
					return
				default:
				}
				m.SetBudget(quota.Budget{
					Limited: rng.IntN(2) == 0, Limit: m.Counters().Of(quota.CountBoth) + rng.Uint64N(1<<28),
					Counted: quota.Counted(rng.IntN(3)), AtEnd: quota.Action(rng.IntN(2)), Mark: rng.Uint64N(1 << 32),
				})
				d := quota.Direction(rng.IntN(2))
				if m.Take(d, 999) != quota.Refuse {
					m.Refund(d, 999)
				}
				runtime.Gosched()
			}
		})
	}
	passed := hammer(m, quota.MaxPacket, func(taken int) bool { return taken >= 3000 })
	close(done)
	churn.Wait()
	require.Equal(t, passed, m.Counters())
}

// TestMeterSharedBudget has peers with an account's meter besides, which refuses in the end: nobody sees a counter fall.
func TestMeterSharedBudget(t *testing.T) {
	const limit = 2_000_000
	account := quota.NewMeter(quota.Counters{}, limited(limit), nil)
	var wg sync.WaitGroup
	var passed [takers]uint64
	var peers [takers]*quota.Meter
	for i := range takers {
		peers[i] = quota.NewMeter(quota.Counters{}, limited(limit), nil)
	}
	done := make(chan struct{})
	var reader sync.WaitGroup
	fell := false
	reader.Go(func() {
		var last [takers + 1]uint64
		for open := true; open; {
			select {
			case <-done:
				open = false
			default:
			}
			for i, m := range append(peers[:], account) {
				now := m.Counters().Download
				fell = fell || now < last[i]
				last[i] = now
			}
		}
	})
	for i := range takers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for !account.Blocked() {
				n := rng.IntN(1500) + 1
				if quota.TakeBoth(peers[i], account, quota.Download, n) != quota.Refuse {
					passed[i] += uint64(n)
				}
			}
		})
	}
	wg.Wait()
	close(done)
	reader.Wait()
	require.False(t, fell, "a counter fell")
	var sum uint64
	for i := range takers {
		require.Equal(t, passed[i], peers[i].Counters().Download)
		sum += passed[i]
	}
	require.Equal(t, sum, account.Counters().Download)
	require.LessOrEqual(t, sum, uint64(limit))
}
