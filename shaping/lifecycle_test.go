package shaping

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newWorldWithoutBubble is a world in real time that ends with the test.
func newWorldWithoutBubble(t *testing.T, tune func(*Config)) *world {
	w := newWorld(t, tune)
	t.Cleanup(w.close)
	return w
}

func TestLifecycle(t *testing.T) {
	for name, run := range map[string]func(*Scheduler){
		"close only":    func(s *Scheduler) { s.Close() },
		"close twice":   func(s *Scheduler) { s.Start(); s.Close(); s.Close() },
		"start twice":   func(s *Scheduler) { s.Start(); s.Start(); s.Close() },
		"start after":   func(s *Scheduler) { s.Close(); s.Start(); s.Close() },
		"neither":       func(s *Scheduler) {},
		"all at once":   concurrently(20),
		"with a queue":  func(s *Scheduler) { s.Start(); enqueueTo(s, "a", MinRate, 10); s.Close() },
		"never started": func(s *Scheduler) { enqueueTo(s, "a", MinRate, 10); s.Close() },
		"enqueue after": func(s *Scheduler) {
			s.Start()
			l := enqueueTo(s, "a", MinRate, 10)
			s.Close()
			l.Enqueue(s.NewPacket(9))
		},
		"removed at close": func(s *Scheduler) { s.Start(); enqueueTo(s, "a", MinRate, 10); s.RemoveLeaf("a"); s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewScheduler(Config{Output: func(packets []*Packet) {
				for _, p := range packets {
					p.Free()
				}
			}})
			require.NoError(t, err)
			s.packets.live = new(atomic.Int64)
			run(s)
			require.Zero(t, s.packets.live.Load(), "packets leaked")
		})
	}
}

func concurrently(n int) func(*Scheduler) {
	return func(s *Scheduler) {
		var wg sync.WaitGroup
		for range n {
			wg.Go(s.Start)
			wg.Go(func() { enqueueTo(s, "a", MinRate, 3) })
			wg.Go(s.Close)
		}
		wg.Wait()
		s.Close()
	}
}

func enqueueTo(s *Scheduler, id string, rate Rate, n int) *Leaf {
	l, err := s.SetLeaf(id, "", rate)
	if err != nil {
		return nil // closed
	}
	for range n {
		l.Enqueue(s.NewPacket(1000))
	}
	return l
}

func TestErrors(t *testing.T) {
	s, err := NewScheduler(Config{Output: func([]*Packet) {}})
	require.NoError(t, err)
	require.ErrorIs(t, s.SetRoot(1), ErrRateRange)
	require.ErrorIs(t, s.SetGroup("", 0), ErrName)
	require.ErrorIs(t, s.SetGroup("g", MaxRate+1), ErrRateRange)
	_, err = s.SetLeaf("", "", 0)
	require.ErrorIs(t, err, ErrName)
	_, err = s.SetLeaf("a", "", 5)
	require.ErrorIs(t, err, ErrRateRange)
	_, err = s.SetLeaf("a", "missing", 0)
	require.ErrorIs(t, err, ErrNoGroup)
	require.ErrorContains(t, err, `"missing"`)
	_, ok := s.Leaf("a")
	require.False(t, ok, "nothing is made by what fails")
	require.NoError(t, s.RemoveGroup("missing"))
	require.NoError(t, s.SetGroup("g", 0))
	l, err := s.SetLeaf("a", "g", 0)
	require.NoError(t, err)
	require.Equal(t, "a", l.ID())
	same, _ := s.Leaf("a")
	require.Same(t, l, same)
	require.ErrorIs(t, s.RemoveGroup("g"), ErrGroupInUse)
	require.Error(t, s.Apply(Step{Op: OpRemove}))
	require.Error(t, s.Apply(Step{Class: Class{Kind: 7}}))

	s.Close()
	require.ErrorIs(t, s.SetRoot(0), ErrClosed)
	require.ErrorIs(t, s.SetGroup("g", 0), ErrClosed)
	require.ErrorIs(t, s.RemoveGroup("g"), ErrClosed)
	_, err = s.SetLeaf("a", "", 0)
	require.ErrorIs(t, err, ErrClosed)
	s.RemoveLeaf("a")
}

// TestEnqueueFromOutput: a reply to a packet may be sent from where the packet comes out.
func TestEnqueueFromOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		replies := 0
		w = newWorld(t, nil)
		defer w.close()
		a := w.leaf("a", "", 10e6)
		w.onBatch = func([]*Packet) {
			if replies < 50 {
				replies++
				a.send(1, testMTU, 1)
			}
		}
		a.send(1, testMTU, 1)
		w.run(time.Second)
		require.Len(t, w.events(), 51)
	})
}

// TestIdleSchedulerSleeps: nothing wakes up when nothing waits.
func TestIdleSchedulerSleeps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(1e6))
		a := w.leaf("a", "", 500e3)
		a.send(1, testMTU, 10)
		w.run(2 * time.Second)
		require.Len(t, w.events(), 10)
		require.Equal(t, never, w.s.root.at.Load())
		require.Equal(t, never, w.s.pacer.timers.next())
		require.Equal(t, never, w.s.pacer.until)
	})
}
