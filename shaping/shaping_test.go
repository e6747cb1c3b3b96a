package shaping

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLeafRate(t *testing.T) {
	for rate, d := range map[Rate]time.Duration{
		MinRate: 30 * time.Second, 100e3: 10 * time.Second, 1e6: 5 * time.Second, 10e6: 2 * time.Second,
		33_333_333: time.Second, 100e6: time.Second, 1e9: 200 * time.Millisecond,
	} {
		t.Run(rate.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a := w.leaf("a", "", rate)
				got := w.measure(d, a)
				w.within(rate, got["a"], 0.001, d, "leaf")
			})
		})
	}
}

// TestSmallPackets would find time or tokens rounded away with each packet.
func TestSmallPackets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.leaf("a", "", 1e6+1)
		for range 5000 {
			a.send(1, 37, 7)
			time.Sleep(time.Millisecond)
		}
		w.run(0)
		require.InDelta(t, 5*1e6/8+2*testMTU, w.sent()["a"], 200)
	})
}

func TestGroupIsSharedFairly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 10e6)
		a, b, c := w.leaf("a", "g", 0), w.leaf("b", "g", 0), w.leaf("c", "g", 100e6)
		got := w.measure(2*time.Second, a, b, c)
		for _, id := range []string{"a", "b", "c"} {
			w.within(3_333_333, got[id], 0.005, 2*time.Second, id)
		}
		w.within(10e6, got["a"]+got["b"]+got["c"], 0.001, 2*time.Second, "group")
	})
}

func TestLowerCeilingLeavesTheRestToOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 10e6)
		a, b, c := w.leaf("a", "g", 1e6), w.leaf("b", "g", 0), w.leaf("c", "g", 0)
		got := w.measure(4*time.Second, a, b, c)
		w.within(1e6, got["a"], 0.005, 4*time.Second, "a")
		w.within(4.5e6, got["b"], 0.005, 4*time.Second, "b")
		w.within(4.5e6, got["c"], 0.005, 4*time.Second, "c")
	})
}

func TestIdleSiblingsLendTheirShare(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 10e6)
		a, b := w.leaf("a", "g", 0), w.leaf("b", "g", 0)
		got := w.measure(time.Second, a)
		w.within(10e6, got["a"], 0.002, time.Second, "alone")
		got = w.measure(time.Second, a, b)
		w.within(5e6, got["a"], 0.005, time.Second, "a, shared")
		w.within(5e6, got["b"], 0.005, time.Second, "b, shared")
		w.run(time.Second, b) // a's queue runs out
		got = w.measure(time.Second, b)
		w.within(10e6, got["b"], 0.002, time.Second, "alone again")
	})
}

// TestRootIsSharedByGroups: an account with four peers gets no more of the node than an account with one.
func TestRootIsSharedByGroups(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(30e6))
		w.group("many", 0)
		w.group("one", 100e6)
		var busy []*source
		for _, id := range leafNames(4) {
			busy = append(busy, w.leaf(id, "many", 0))
		}
		busy = append(busy, w.leaf("alone", "one", 0), w.leaf("free", "", 0))
		got := w.measure(2*time.Second, busy...)
		for _, id := range leafNames(4) {
			w.within(2.5e6, got[id], 0.01, 2*time.Second, id)
		}
		w.within(10e6, got["alone"], 0.005, 2*time.Second, "alone")
		w.within(10e6, got["free"], 0.005, 2*time.Second, "free")
	})
}

func TestMaxMinOverThreeLevels(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(100e6))
		w.group("small", 10e6)
		w.group("large", 0)
		busy := []*source{
			w.leaf("s1", "small", 1e6), w.leaf("s2", "small", 0),
			w.leaf("l1", "large", 5e6), w.leaf("l2", "large", 0),
			w.leaf("lone", "", 20e6),
		}
		got := w.measure(2*time.Second, busy...)
		for id, want := range map[string]Rate{"s1": 1e6, "s2": 9e6, "l1": 5e6, "l2": 65e6, "lone": 20e6} {
			w.within(want, got[id], 0.01, 2*time.Second, id)
		}
	})
}

func TestManyLeaves(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(20e6))
		var busy []*source
		for _, id := range leafNames(200) {
			busy = append(busy, w.leaf(id, "", 1e6))
		}
		got := w.measure(3*time.Second, busy...)
		total := 0.0
		for _, n := range got {
			total += n
			w.within(100e3, n, 0.01, 3*time.Second, "share")
		}
		w.within(20e6, total, 0.001, 3*time.Second, "root")
	})
}

func TestChangeUnderLoad(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 0)
		a := w.leaf("a", "g", 10e6)
		set := map[string]func(Rate){
			"leaf":  func(r Rate) { w.leaf("a", "g", r) },
			"group": func(r Rate) { w.group("g", r) },
			"root":  func(r Rate) { require.NoError(t, w.s.SetRoot(r)) },
		}
		for level, set := range set {
			w.leaf("a", "g", 500e6)
			w.group("g", 500e6)
			require.NoError(t, w.s.SetRoot(500e6))
			for _, rate := range []Rate{10e6, 50e6, 1e6, 100e6, 99e6, 5e6} {
				set(rate)
				w.events()
				const d = 300 * time.Millisecond
				w.run(d, a)
				n := 0
				for _, e := range w.events() {
					n += e.n
				}
				// From the very moment of the change: no more than the rate and one burst, no less than the rate.
				most := rate.Bytes(d) + rate.Bytes(10*time.Millisecond) + 3*testMTU
				require.LessOrEqual(t, int64(n), most, "%s to %v", level, rate)
				require.GreaterOrEqual(t, int64(n), rate.Bytes(d-2*time.Millisecond)-2*testMTU, "%s to %v", level, rate)
			}
		}
	})
}

// TestRaisedLimitSendsNow: a queue that would have waited for seconds is not kept waiting by the old limit.
func TestRaisedLimitSendsNow(t *testing.T) {
	raise := map[string]func(*world, Rate){
		"leaf":  func(w *world, r Rate) { w.leaf("a", "g", r) },
		"group": func(w *world, r Rate) { w.group("g", r) },
		"root":  func(w *world, r Rate) { require.NoError(w.t, w.s.SetRoot(r)) },
	}
	for level, set := range raise {
		for _, to := range []Rate{Unlimited, 100e6} {
			t.Run(level+" to "+to.String(), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.group("g", 0)
					a := w.leaf("a", "g", 0)
					set(w, MinRate)
					a.send(1, testMTU, 8)
					w.run(20 * time.Millisecond)
					w.events()
					require.EqualValues(t, 5, a.leaf.Stats().BacklogPackets, "two packets of burst and one on debt")
					set(w, to)
					w.run(2 * time.Millisecond)
					require.Len(t, w.events(), 5)
				})
			})
		}
	}
}

func TestUnlimitedToLimited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.leaf("a", "", Unlimited)
		require.True(t, a.leaf.Unshaped())
		a.send(1, testMTU, 500)
		require.Len(t, w.events(), 500, "nothing waits without a limit")
		w.leaf("a", "", 10e6)
		require.False(t, a.leaf.Unshaped())
		a.send(1, testMTU, 500)
		require.Len(t, w.events(), 9, "a burst of 10 ms, and the rest waits")
	})
}

func TestUnshaped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 0)
		a := w.leaf("a", "g", 0)
		require.True(t, a.leaf.Unshaped())
		w.group("g", 1e6)
		require.False(t, a.leaf.Unshaped())
		w.group("g", MaxRate)
		require.True(t, a.leaf.Unshaped())
		require.NoError(t, w.s.SetRoot(MinRate))
		require.False(t, a.leaf.Unshaped())
		a.send(1, testMTU, 10)
		require.NoError(t, w.s.SetRoot(0))
		require.False(t, a.leaf.Unshaped(), "what is queued goes first")
		w.run(2 * time.Millisecond)
		require.True(t, a.leaf.Unshaped())
		w.s.RemoveLeaf("a")
		require.False(t, a.leaf.Unshaped())
	})
}

func TestMoveKeepsTheQueue(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("slow", 100e3)
		w.group("fast", 0)
		a, other := w.leaf("a", "slow", 0), w.leaf("other", "slow", 0)
		a.send(1, testMTU, 8)
		other.send(1, testMTU, 8)
		w.run(10 * time.Millisecond)
		backlog := a.leaf.Stats().BacklogPackets
		require.NotZero(t, backlog)
		sent := len(w.events())

		_, err := w.s.SetLeaf("a", "fast", 50e6)
		require.NoError(t, err)
		w.run(5 * time.Millisecond)
		require.Zero(t, a.leaf.Stats().BacklogPackets)
		require.Zero(t, a.leaf.Stats().DroppedPackets)
		for i, e := range w.events() {
			require.Equal(t, "a", e.src.id)
			require.EqualValues(t, 8-int(backlog)+i, e.seq)
		}
		// And under the root, and back to the slow group, from where it cannot leave faster than that allows.
		w.leaf("a", "", 0)
		w.leaf("a", "slow", 0)
		a.send(1, testMTU, 20)
		w.run(time.Second)
		n := 0
		for _, e := range w.events() {
			n += e.n
		}
		require.LessOrEqual(t, n, 100_000/8+3*testMTU)
		require.NotZero(t, sent)
		require.ErrorIs(t, w.s.RemoveGroup("slow"), ErrGroupInUse)
		require.NoError(t, w.s.RemoveGroup("fast"))
	})
}

func TestRemoveLeafFreesItsPackets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 1e6)
		a, b := w.leaf("a", "g", 0), w.leaf("b", "g", 0)
		a.send(1, testMTU, 12)
		b.send(1, testMTU, 5)
		synctest.Wait()
		queued := a.leaf.Stats().BacklogPackets
		require.NotZero(t, queued)
		w.s.RemoveLeaf("a")
		w.s.RemoveLeaf("a")
		st := a.leaf.Stats()
		require.Zero(t, st.BacklogPackets)
		require.Equal(t, queued, st.DroppedPackets)
		a.send(1, testMTU, 1)
		require.Equal(t, queued+1, a.leaf.Stats().DroppedPackets, "a removed leaf takes nothing")
		w.run(100 * time.Millisecond)
		require.EqualValues(t, 5, b.leaf.Stats().SentPackets)

		again := w.leaf("a", "g", 0)
		require.NotSame(t, a.leaf, again.leaf)
		require.Zero(t, again.leaf.Stats())
	})
}

// TestTurnsAreOfBytes: neither small packets nor a queue that is refilled just in time changes the share.
func TestTurnsAreOfBytes(t *testing.T) {
	for _, level := range []string{"group", "root"} {
		t.Run(level, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				group := ""
				if level == "group" {
					group = "g"
					w.group("g", 9e6)
				} else {
					require.NoError(t, w.s.SetRoot(9e6))
				}
				large, small, late := w.leaf("large", group, 0), w.leaf("small", group, 0), w.leaf("late", group, 0)
				var before map[string]int
				for i := range 10_000 {
					if i == 1000 {
						before = w.sent() // with the first burst
					}
					large.fill()
					for small.leaf.Stats().BacklogPackets < 60 {
						small.send(1, 100, 10)
					}
					if late.leaf.Stats().BacklogPackets == 0 {
						late.send(1, 1000, 2)
					}
					time.Sleep(100 * time.Microsecond)
				}
				got := w.sent()
				for id := range got {
					got[id] -= before[id]
				}
				require.InEpsilon(t, got["large"], got["small"], 0.02)
				require.Less(t, float64(got["late"]), 1.02*float64(got["large"]))
			})
		})
	}
}

// TestTurnsAreNotSavedUp: a group that needs no more than a part of its turns has no claim to the rest later.
func TestTurnsAreNotSavedUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.s.SetRoot(20e6))
		a, b := w.leaf("a", "", 1e6), w.leaf("b", "", 0)
		for range 500 {
			b.fill()
			if a.leaf.Stats().BacklogPackets == 0 {
				a.send(1, 100, 2)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			w.s.root.mu.Lock()
			credit, turn := a.leaf.group.Load().deficit, w.s.root.turn
			w.s.root.mu.Unlock()
			require.LessOrEqual(t, credit, turn)
		}
	})
}

// TestNewcomerWaitsItsTurn: a packet that could pass by its own tokens does not overtake siblings that wait for the group's.
func TestNewcomerWaitsItsTurn(t *testing.T) {
	for _, level := range []string{"group", "root"} {
		t.Run(level, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				group := ""
				if level == "group" {
					group = "g"
					w.group("g", 1e6)
				} else {
					require.NoError(t, w.s.SetRoot(1e6))
				}
				a, b, c := w.leaf("a", group, 0), w.leaf("b", group, 0), w.leaf("c", group, 0)
				a.send(1, testMTU, 10)
				b.send(1, testMTU, 10)
				w.run(50 * time.Millisecond)
				w.events()
				// Until tokens have come in and the pacer, which rounds up to a tick, has not: they are not for c.
				g := w.s.groups["g"]
				bucket := &w.s.root.bucket
				if g != nil {
					bucket = &g.bucket
				}
				for w.events(); bucket.opensAt() > w.s.now(); w.events() {
					time.Sleep(50 * time.Microsecond)
				}
				c.send(1, testMTU, 2)
				require.Empty(t, w.events())
				w.run(100 * time.Millisecond)
				var order []string
				for _, e := range w.events() {
					order = append(order, e.src.id)
				}
				require.ElementsMatch(t, []string{"a", "b", "c"}, order[:3], "one turn each")
				require.Equal(t, "c", order[2], "and c last, since it came last")
			})
		})
	}
}
