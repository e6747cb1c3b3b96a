package shaping

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLatePacerLosesNothing: an Output that blocks makes the pacer late for everyone else, for longer than a burst lasts.
func TestLatePacerLosesNothing(t *testing.T) {
	for _, root := range []Rate{Unlimited, 20e6} {
		t.Run("root "+root.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				const d = 3 * time.Second
				require.NoError(t, w.s.SetRoot(root))
				w.deeper = 100
				slow, a := w.leaf("slow", "", 100e3), w.leaf("a", "", 10e6)
				busy := []*source{slow, a}
				if root != Unlimited {
					busy = append(busy, w.leaf("b", "", 0))
				}
				w.onBatch = func(packets []*Packet) {
					if packets[0].Owner.(*source).id == "slow" {
						time.Sleep(40 * time.Millisecond)
					}
				}
				got := w.measure(d, busy...)
				require.Greater(t, got["slow"], 60e3, "the test needs an Output that blocks often")
				w.within(10e6, got["a"], 0.02, d, "a") // the stretch may end while Output blocks
				if root != Unlimited {
					w.within(root, got["a"]+got["b"]+got["slow"], 0.02, d, "root")
				}
			})
		})
	}
}

// TestSlowOutputStarvesNoOne: a root that has tokens faster than Output takes packets would keep the pacer busy for ever.
func TestSlowOutputStarvesNoOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(200e6))
		w.deeper = 100
		a, b := w.leaf("a", "", 1e6), w.leaf("b", "", 0)
		w.onBatch = func(packets []*Packet) {
			if packets[0].Owner == b && time.Since(w.start) < 2*time.Second {
				time.Sleep(10 * time.Millisecond)
				b.fill()
			}
		}
		go b.fill()
		got := w.measure(1900*time.Millisecond, a)
		require.Less(t, got["b"], 150e6, "the test needs an Output that is slower than the root")
		w.within(1e6, got["a"], 0.03, 1900*time.Millisecond, "a")
	})
}

// TestWaitingForTheGroupIsNotLateness: a leaf whose own tokens came while its group's were spent has not waited for the pacer.
func TestWaitingForTheGroupIsNotLateness(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", MinRate)
		a := w.leaf("a", "g", 1e6)
		a.send(1, testMTU, 15) // a burst leaves both the leaf and the group in debt, the group for more than a second
		time.Sleep(time.Second)
		w.events()
		w.group("g", Unlimited)
		synctest.Wait()
		require.Len(t, w.events(), 2, "the leaf's burst")
		require.Zero(t, w.s.stalled.Load(), "nothing was late")
	})
}

// TestIdleRootIsNotLate: a root that nothing came to for a while owes nothing when a leaf that waited for its own tokens comes.
func TestIdleRootIsNotLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(1e6))
		a := w.leaf("a", "", MinRate)
		a.send(1, testMTU, 10)
		time.Sleep(300 * time.Millisecond)
		w.events()
		w.leaf("a", "", Unlimited)
		synctest.Wait()
		require.Len(t, w.events(), 2, "a burst")
	})
}

// TestCatchingUpIsBounded: what a class could not send because it had nothing to send is not owed to it.
func TestCatchingUpIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.leaf("a", "", 10e6)
		w.run(100*time.Millisecond, a)
		time.Sleep(10 * time.Second)
		w.events()
		a.send(1, testMTU, 100)
		n := 0
		for _, e := range w.events() {
			n += e.n
		}
		require.LessOrEqual(t, n, 12_500+testMTU)
	})
}

// TestLatenessIsOwedOnlyToThoseWhoWait: what is left of it when the queue is empty is forgotten.
func TestLatenessIsOwedOnlyToThoseWhoWait(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, slow := w.leaf("a", "", 10e6), w.leaf("slow", "", MinRate)
		slow.send(1, testMTU, 3)
		slow.send(1, testMTU, 1)
		w.onBatch = func(packets []*Packet) {
			if packets[0].Owner == slow {
				time.Sleep(150 * time.Millisecond)
			}
		}
		for slow.leaf.Stats().BacklogPackets > 0 { // until the pacer is about to be held up
			a.send(1, testMTU, 1)
			time.Sleep(time.Millisecond)
		}
		w.run(time.Second)
		require.Zero(t, a.leaf.Stats().BacklogPackets)
		w.events()
		a.send(1, testMTU, 200)
		n := 0
		for _, e := range w.events() {
			n += e.n
		}
		require.LessOrEqual(t, n, 12_500+testMTU)
	})
}

// TestEnqueueReturns: it does not hand on for ever what others enqueue meanwhile.
func TestEnqueueReturns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.leaf("a", "", 0)
		left := 1000
		w.onBatch = func([]*Packet) {
			time.Sleep(time.Millisecond)
			if left--; left > 0 {
				a.send(1, testMTU, 1)
			}
		}
		began := time.Now()
		a.send(1, testMTU, 1)
		require.LessOrEqual(t, time.Since(began), maxBatches*time.Millisecond)
		w.run(2 * time.Second)
		require.Len(t, w.events(), 1000, "the pacer took over")
	})
}

// TestCloseWaitsForOutput, so that what Output uses can be torn down after Close.
func TestCloseWaitsForOutput(t *testing.T) {
	for _, group := range []string{"", "g"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.group("g", 0)
			a := w.leaf("a", group, 0)
			returned := false
			w.onBatch = func([]*Packet) {
				time.Sleep(time.Second)
				returned = true
			}
			go a.send(1, testMTU, 1)
			synctest.Wait()
			w.close()
			require.True(t, returned)
		})
	}
}

// TestBlockedOutputHoldsUpNoOtherGroup: only the group that is in Output waits for it, if it got there by Enqueue.
func TestBlockedOutputHoldsUpNoOtherGroup(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(100e6))
		stuck, a := w.leaf("stuck", "", 10e6), w.leaf("a", "", 10e6)
		gate := make(chan struct{})
		w.onBatch = func(packets []*Packet) {
			if packets[0].Owner.(*source).id == "stuck" {
				<-gate
			}
		}
		go stuck.send(1, testMTU, 1)
		synctest.Wait()
		stuck.send(1, testMTU, 3) // returns, and leaves them to whoever is in Output
		require.EqualValues(t, 3, stuck.leaf.Stats().BacklogPackets)
		got := w.measure(time.Second, a)
		w.within(10e6, got["a"], 0.002, time.Second, "a")
		require.NoError(t, w.s.SetGroup("new", 1e6), "nor does it hold up changes")
		_, err := w.s.SetLeaf("stuck", "", 20e6)
		require.NoError(t, err)
		close(gate)
		w.run(5 * time.Millisecond)
		require.EqualValues(t, 4, stuck.leaf.Stats().SentPackets)
	})
}

// TestMovedLeafWaitsForItsPacketsInFlight: the new group must not overtake what the old one has given to Output.
func TestMovedLeafWaitsForItsPacketsInFlight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g1", 10e6)
		w.group("g2", 10e6)
		w.group("g3", 0)
		a, b := w.leaf("a", "g1", 0), w.leaf("b", "g2", 0)
		gate := make(chan struct{})
		first := true
		w.onBatch = func(packets []*Packet) {
			if first && packets[0].Owner == a {
				first = false
				<-gate
			}
		}
		go a.send(1, testMTU, 2)
		synctest.Wait()
		for _, group := range []string{"g2", "g3", "g1", "", "g2"} {
			_, err := w.s.SetLeaf("a", group, 0)
			require.NoError(t, err)
			a.send(1, testMTU, 1)
			w.run(5 * time.Millisecond)
			require.Zero(t, w.sent()["a"])
		}
		b.send(1, testMTU, 2)
		w.run(5 * time.Millisecond)
		require.Equal(t, 2*testMTU, w.sent()["b"], "its new siblings do not wait")
		close(gate)
		w.run(5 * time.Millisecond)
		var got []uint64
		for _, e := range w.events() {
			if e.src == a {
				got = append(got, e.seq)
			}
		}
		require.Equal(t, []uint64{0, 1, 2, 3, 4, 5, 6}, got)
	})
}

func TestMovedLeafThatIsRemovedInFlight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g1", 10e6)
		a := w.leaf("a", "", 10e6)
		gate := make(chan struct{})
		w.onBatch = func([]*Packet) { <-gate }
		go a.send(1, testMTU, 2)
		synctest.Wait()
		a.send(1, testMTU, 2)
		_, err := w.s.SetLeaf("a", "g1", 0)
		require.NoError(t, err)
		a.send(1, testMTU, 2)
		w.s.RemoveLeaf("a")
		require.NoError(t, w.s.RemoveGroup("g1"))
		require.EqualValues(t, 4, a.leaf.Stats().DroppedPackets)
		closed := make(chan struct{})
		go func() {
			w.s.Close() // waits, even for the group of which nothing is left
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			require.Fail(t, "Close returned while Output ran")
		default:
		}
		close(gate)
		<-closed
		require.Len(t, w.events(), 2)
	})
}

// TestMemoryIsShared: greedy leaves fill no more than the bound, and always leave room for another.
func TestMemoryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const memory = 1 << 20
		w := newWorld(t, func(c *Config) { c.Memory = memory; c.Tuning.Queue = 10 * time.Second })
		defer w.close()
		var greedy []*source
		for _, id := range leafNames(50) {
			greedy = append(greedy, w.leaf(id, "", 10e6))
		}
		for round := range 10 {
			for _, g := range greedy {
				g.send(uint32(round), 100, 100) // small ones: what counts is the buffer they take
				require.LessOrEqual(t, w.s.memory.queued.Load(), int64(memory))
			}
		}
		calm := w.leaf("calm", "", 100e3)
		calm.send(1, testMTU, 8)
		require.Zero(t, calm.leaf.Stats().DroppedPackets)
		var least, most uint64 = 1 << 62, 0
		for _, g := range greedy {
			st := g.leaf.Stats()
			require.Equal(t, uint64(1000), st.SentPackets+st.DroppedPackets+st.BacklogPackets)
			least, most = min(least, st.BacklogPackets), max(most, st.BacklogPackets)
		}
		require.NotZero(t, least)
		require.LessOrEqual(t, most, 10*least, "no one has all of it")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Zero(t, w.s.memory.queued.Load())
	})
}

func TestOddPackets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, rate := range []Rate{Unlimited, MinRate} {
			a := w.leaf("a", "", rate)
			before := a.leaf.Stats()
			a.leaf.Enqueue()
			a.send(1, 0, 5)
			a.send(1, -3, 1)
			a.send(1, maxMTU+1, 1)
			require.Equal(t, before.DroppedPackets+7, a.leaf.Stats().DroppedPackets)
			require.Zero(t, a.leaf.Stats().BacklogPackets)
			require.False(t, a.leaf.busy.Load())
			a.send(1, maxMTU, 1) // far longer than the MTU, and paid for
			foreign := &Packet{Data: make([]byte, 100), Owner: a}
			a.leaf.Enqueue(foreign)
			time.Sleep(70 * time.Second)
			synctest.Wait()
			require.Equal(t, before.SentPackets+2, a.leaf.Stats().SentPackets)
		}
	})
}

func TestHeadroom(t *testing.T) {
	w := newWorldWithoutBubble(t, func(c *Config) { c.Headroom = 16 })
	p := w.s.NewPacket(100)
	require.Len(t, p.WithHeadroom(), 116)
	require.Same(t, &p.Data[0], &p.WithHeadroom()[16])
	p.Data = p.Data[:1420]
	require.Len(t, p.WithHeadroom(), 1436)
	p.Free()
	long := w.s.NewPacket(9000)
	require.Len(t, long.WithHeadroom(), 9016)
	long.Free()
	foreign := &Packet{Data: []byte{1}}
	require.Len(t, foreign.WithHeadroom(), 1)
	foreign.Free()
}
