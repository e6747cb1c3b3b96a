package shaping

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// meter says whether what passed a class is within its ceiling: in any window, no more than the rate, a burst and a packet.
// It is the textbook's token bucket with a depth of burst and packet, in floating point, and shares nothing with bucket.
type meter struct {
	rate   Rate
	tokens float64 // bytes
	depth  float64
	at     time.Duration
}

const (
	longest = 2 * testMTU // of the packets that the model sends
	epsilon = 0.01        // bytes
)

func (m *meter) set(rate Rate, at time.Duration) {
	m.advance(at)
	fresh := m.rate == Unlimited
	m.rate = rate
	m.depth = max(2*testMTU, float64(rate)/8*0.010) + longest
	if fresh || m.tokens > m.depth {
		m.tokens = m.depth
	}
}

func (m *meter) advance(at time.Duration) {
	m.tokens = min(m.depth, m.tokens+float64(m.rate)/8*(at-m.at).Seconds())
	m.at = at
}

func (m *meter) pass(n int, at time.Duration) bool {
	m.advance(at)
	m.tokens -= float64(n)
	return m.rate == Unlimited || m.tokens >= -epsilon
}

// openForATick reports that a packet could have passed a tick ago.
func (m *meter) openForATick(at time.Duration) bool {
	m.advance(at)
	return m.rate == Unlimited || m.tokens-longest > float64(m.rate)/8*float64(tick)/1e9+epsilon
}

// modelLeaf is what the model knows of one leaf.
type modelLeaf struct {
	*source
	meter
	group    string
	enqueued uint64
	last     map[uint32]int64 // sequence number by flow
}

// machine runs a scheduler against the model.
type machine struct {
	w      *world
	root   meter
	groups map[string]*meter
	leaves map[string]*modelLeaf
}

var (
	modelRates  = rapid.SampledFrom([]Rate{Unlimited, MinRate, 100e3, 1e6, 5e6, 20e6, 100e6})
	modelGroups = []string{"x", "y", "z"}
	modelLeaves = rapid.SampledFrom([]string{"1", "2", "3", "4", "5"})
)

func (m *machine) now() time.Duration { return time.Since(m.w.start) }

func (m *machine) setRoot(t *rapid.T) {
	rate := modelRates.Draw(t, "root")
	require.NoError(t, m.w.s.SetRoot(rate))
	m.root.set(rate, m.now())
}

func (m *machine) setGroup(t *rapid.T) {
	id, rate := rapid.SampledFrom(modelGroups).Draw(t, "group"), modelRates.Draw(t, "rate")
	require.NoError(t, m.w.s.SetGroup(id, rate))
	if m.groups[id] == nil {
		m.groups[id] = new(meter)
	}
	m.groups[id].set(rate, m.now())
}

func (m *machine) removeGroup(t *rapid.T) {
	id := rapid.SampledFrom(modelGroups).Draw(t, "group")
	used := slices.ContainsFunc(slices.Collect(maps.Values(m.leaves)), func(l *modelLeaf) bool { return l.group == id })
	if err := m.w.s.RemoveGroup(id); used {
		require.ErrorIs(t, err, ErrGroupInUse)
	} else {
		require.NoError(t, err)
		delete(m.groups, id)
	}
}

func (m *machine) setLeaf(t *rapid.T) {
	id, rate := modelLeaves.Draw(t, "leaf"), modelRates.Draw(t, "rate")
	group := rapid.SampledFrom(append(modelGroups, "")).Draw(t, "group")
	leaf, err := m.w.s.SetLeaf(id, group, rate)
	if group != "" && m.groups[group] == nil {
		require.ErrorIs(t, err, ErrNoGroup)
		return
	}
	require.NoError(t, err)
	l := m.leaves[id]
	if l == nil {
		l = &modelLeaf{source: &source{w: m.w, id: id, leaf: leaf, next: make(map[uint32]uint64)}, last: make(map[uint32]int64)}
		m.leaves[id] = l
	}
	require.Same(t, l.leaf, leaf)
	l.group = group
	l.set(rate, m.now())
}

func (m *machine) removeLeaf(t *rapid.T) {
	id := modelLeaves.Draw(t, "leaf")
	m.w.s.RemoveLeaf(id)
	if l := m.leaves[id]; l != nil {
		require.Zero(t, l.leaf.Stats().BacklogPackets)
		delete(m.leaves, id)
	}
}

func (m *machine) enqueue(t *rapid.T) {
	l := m.leaves[modelLeaves.Draw(t, "leaf")]
	if l == nil {
		return
	}
	count := rapid.IntRange(1, 200).Draw(t, "packets")
	flow, n := rapid.Uint32Range(0, 3).Draw(t, "flow"), rapid.SampledFrom([]int{60, 500, testMTU, longest}).Draw(t, "length")
	l.send(flow, n, count)
	l.enqueued += uint64(count)
}

func (m *machine) advance(t *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{1, 100_000, 1_000_000, 3_333_333, 25_000_000, 300_000_000}).Draw(t, "time"))
}

// check holds what came out since the last step, and the state that is left, to the model.
func (m *machine) check(t *rapid.T) {
	for _, e := range m.w.events() {
		l := m.leaves[e.src.id]
		require.True(t, l != nil && l.source == e.src, "a packet of leaf %q, which is gone, came out at %v (now %v)", e.src.id, e.at, m.now())
		require.True(t, l.pass(e.n, e.at), "leaf %q is too fast at %v", l.id, e.at)
		if l.group != "" {
			require.True(t, m.groups[l.group].pass(e.n, e.at), "group %q is too fast at %v", l.group, e.at)
		}
		require.True(t, m.root.pass(e.n, e.at), "root is too fast at %v", e.at)
		if last, ok := l.last[e.flow]; ok {
			require.Greater(t, int64(e.seq), last, "flow %d of leaf %q out of order", e.flow, l.id)
		}
		l.last[e.flow] = int64(e.seq)
	}
	require.Zero(t, m.w.s.stalled.Load(), "nothing is late where time is virtual")
	queued := uint64(0)
	for id, l := range m.leaves {
		st := l.leaf.Stats()
		require.Equal(t, l.enqueued, st.SentPackets+st.DroppedPackets+st.BacklogPackets, "leaf %q", id)
		require.Equal(t, st.BacklogPackets > 0, l.leaf.busy.Load())
		queued += st.BacklogPackets
		free := l.openForATick(m.now()) && m.root.openForATick(m.now())
		if l.group != "" {
			free = free && m.groups[l.group].openForATick(m.now())
		}
		require.False(t, free && st.BacklogPackets > 0, "leaf %q waits for nothing", id)
	}
	require.EqualValues(t, queued, m.w.s.packets.live.Load(), "packets leaked")
	require.Equal(t, int64(queued)*m.w.s.memory.buffer, m.w.s.memory.queued.Load())
}

func TestSchedulerModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// In a bubble the deadline of the test, which is in real time, must not be asked for: TB hides it.
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) {
			w := newWorld(t, nil)
			defer w.close()
			m := &machine{w: w, groups: make(map[string]*meter), leaves: make(map[string]*modelLeaf)}
			step := func(action func(*rapid.T)) func(*rapid.T) {
				return func(t *rapid.T) {
					action(t)
					synctest.Wait()
					m.check(t)
				}
			}
			t.Repeat(map[string]func(*rapid.T){
				"setRoot": step(m.setRoot), "setGroup": step(m.setGroup), "removeGroup": step(m.removeGroup),
				"setLeaf": step(m.setLeaf), "setLeaf again": step(m.setLeaf), "removeLeaf": step(m.removeLeaf),
				"enqueue": step(m.enqueue), "enqueue more": step(m.enqueue), "enqueue again": step(m.enqueue),
				"advance": step(m.advance), "advance more": step(m.advance), "advance again": step(m.advance),
			})
			// Whatever is left leaves once the limits are gone.
			require.NoError(t, w.s.SetRoot(Unlimited))
			for id := range m.groups {
				require.NoError(t, w.s.SetGroup(id, Unlimited))
			}
			for id, l := range m.leaves {
				_, err := w.s.SetLeaf(id, l.group, Unlimited)
				require.NoError(t, err)
			}
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			for id, l := range m.leaves {
				require.Zero(t, l.leaf.Stats().BacklogPackets, "leaf %q", id)
			}
		})
	})
}
