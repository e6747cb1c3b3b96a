package htb

import (
	"math"

	"github.com/florianl/go-tc"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/shaping"
)

// Check reads the devices back.
func (m *treeMachine) Check(t *rapid.T) {
	m.settle(t)
	limits := func(c Class) shaping.Limit { return m.claims[c].limit }
	for i, d := range m.w.devices {
		rate := d.Direction.of
		queues := m.w.qdiscs(t, i)
		require.Equal(t, rootHandle, queues[noParent].handle)
		require.Equal(t, "htb", queues[noParent].kind)
		require.Zero(t, queues[noParent].defaultClass)
		objects, err := m.tc.Class().Get(&tc.Msg{Ifindex: uint32(d.Index), Parent: rootHandle})
		require.NoError(t, err)
		classes := make(map[uint32]tc.Object)
		for _, o := range objects {
			classes[o.Handle] = o
		}
		require.LessOrEqual(t, len(classes), m.config.most+1)
		hasParams(t, m.w.planner.Root(rate(m.root)), classes[classID(rootClass)])
		for c, claim := range m.claims {
			o := classes[classID(c)]
			parent := rootClass
			if claim.group != 0 {
				parent = claim.group
			}
			require.Equal(t, classID(parent), o.Parent)
			if claim.isGroup {
				hasParams(t, m.w.planner.Group(rate(claim.limit)), o)
				continue
			}
			params := m.w.planner.Leaf(rate(claim.limit), rate(limits(claim.group)), rate(m.root))
			hasParams(t, params, o)
			require.Zero(t, o.Htb.Parms.Level)
			q := queues[classID(c)]
			require.Equal(t, queueHandle(c), o.Info, "the leaf qdisc")
			require.Equal(t, queueHandle(c), q.handle)
			if m.tree.Stats().FqCodel {
				require.Equal(t, "fq_codel", q.kind)
				require.EqualValues(t, flows, q.queue.flows)
				require.InDelta(t, params.Target.Microseconds(), q.queue.targetMicros, 2)
				require.InDelta(t, params.Interval.Microseconds(), q.queue.everMicros, 2)
				continue
			}
			require.Equal(t, "tbf", q.kind)
			require.EqualValues(t, max(params.QueueBytes/4, 10*shaping.DefaultMTU), q.queue.limit)
		}
	}
	// What the tree believes is so.
	all, err := m.tree.look()
	require.NoError(t, err)
	for i, n := range m.tree.nodes {
		if n == nil {
			continue
		}
		for device, f := range all {
			found, known := f.side(Class(i), m.tree.pool), n.sides[device]
			if known.class != unknownClass() {
				require.Equal(t, found.class, known.class)
			}
			if known.queue.kind != queueUnknown && known.class != unknownClass() {
				require.Equal(t, found.queue, known.queue)
			}
		}
	}
}

// hasParams compares what the kernel says with the plan, in the plan's units.
func hasParams(t *rapid.T, want shaping.Params, o tc.Object) {
	require.NotNil(t, o.Htb)
	rate, ceil := uint64(o.Htb.Parms.Rate.Rate), uint64(o.Htb.Parms.Ceil.Rate)
	if o.Htb.Rate64 != nil {
		rate = *o.Htb.Rate64
	}
	if o.Htb.Ceil64 != nil {
		ceil = *o.Htb.Ceil64
	}
	require.EqualValues(t, want.Rate/8, rate)
	require.EqualValues(t, want.Ceil/8, ceil)
	require.EqualValues(t, inOnePiece*want.Quantum, o.Htb.Parms.Quantum)
	burst := func(n int, rate uint64, ticks uint32) {
		if ticks != math.MaxUint32 {
			require.InDelta(t, float64(n), float64(ticks)*64*float64(rate)/1e9, 64*float64(rate)/1e9+1e-6)
		} else {
			require.Greater(t, float64(n)/float64(rate), 274.0)
		}
	}
	burst(want.Burst, rate, o.Htb.Parms.Buffer)
	burst(want.Cburst, ceil, o.Htb.Parms.Cbuffer)
}
