package shaping

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	ms          = int64(time.Millisecond)
	testQuantum = 1420
)

var patient = codelParams{target: never / 4, interval: never / 4, spared: 1420}

func packetOf(flow uint32, n int, at int64) *Packet {
	return &Packet{Flow: flow, Data: make([]byte, n), queuedAt: at}
}

// TestFlowTableKeepsOrder throws flows at one set of queues, where they have to share and to change places.
func TestFlowTableKeepsOrder(t *testing.T) {
	var colliding []uint32
	probe := new(flowTable)
	for flow := uint32(1); len(colliding) < 9; flow++ {
		if i, _ := probe.find(flow); i < flowWays {
			colliding = append(colliding, flow)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		table := new(flowTable)
		queued := make(map[uint32][]*Packet)
		total := 0
		for range rapid.IntRange(1, 300).Draw(t, "operations") {
			if total == 0 || rapid.IntRange(0, 99).Draw(t, "push?") < 55 {
				p := packetOf(rapid.SampledFrom(colliding).Draw(t, "flow"), rapid.IntRange(1, 1420).Draw(t, "length"), 0)
				table.push(p, testQuantum)
				queued[p.Flow] = append(queued[p.Flow], p)
				total++
				continue
			}
			p := table.pop(0, testQuantum, patient, new(tally))
			require.NotNil(t, p)
			require.Same(t, queued[p.Flow][0], p, "flow %d out of order", p.Flow)
			queued[p.Flow] = queued[p.Flow][1:]
			total--
		}
		for range total {
			p := table.pop(0, testQuantum, patient, new(tally))
			require.Same(t, queued[p.Flow][0], p)
			queued[p.Flow] = queued[p.Flow][1:]
		}
		require.Nil(t, table.pop(0, testQuantum, patient, new(tally)))
		require.Equal(t, [3]fifo{}, table.lists)
	})
}

func TestFlowsShareByBytes(t *testing.T) {
	table := new(flowTable)
	sizes := []int{1420, 700, 100}
	for flow, size := range sizes {
		for range 300_000 / size {
			table.push(packetOf(uint32(flow), size, 0), testQuantum)
		}
	}
	got := make([]int, len(sizes))
	for range 1000 {
		p := table.pop(0, testQuantum, patient, new(tally))
		got[p.Flow] += len(p.Data)
	}
	for _, n := range got[1:] {
		require.InDelta(t, got[0], n, 2*testQuantum)
	}
}

func TestNewFlowGoesFirst(t *testing.T) {
	table := new(flowTable)
	for range 100 {
		table.push(packetOf(1, 1420, 0), testQuantum)
		table.push(packetOf(2, 1420, 0), testQuantum)
	}
	for range 10 {
		table.pop(0, testQuantum, patient, new(tally))
	}
	table.push(packetOf(3, 100, 0), testQuantum)
	require.EqualValues(t, 3, table.pop(0, testQuantum, patient, new(tally)).Flow)
}

// TestFlowDoesNotStayNew: a flow that sends its next packet soon after the last one left has turns like all others.
func TestFlowDoesNotStayNew(t *testing.T) {
	table := new(flowTable)
	for flow := range uint32(10) {
		for range 100 {
			table.push(packetOf(flow, 1420, 0), testQuantum)
		}
	}
	const sneaky = 99
	queued, got := 0, 0
	for i := range 300 {
		if i%2 == 0 && queued == 0 {
			table.push(packetOf(sneaky, 100, 0), testQuantum)
			queued++
		}
		if table.pop(0, testQuantum, patient, new(tally)).Flow == sneaky {
			queued--
			got++
		}
	}
	require.LessOrEqual(t, got, 2*300/10, "once as a new flow and once as an old one in each round of ten")
}

// TestFlowsSpread counts how many of 64 flows have a queue to themselves.
func TestFlowsSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := new(flowTable)
		flows := rapid.SliceOfNDistinct(rapid.Uint32(), 64, 64, rapid.ID).Draw(t, "flows")
		used := make(map[int]bool)
		for _, flow := range flows {
			i, _ := table.find(flow)
			used[i] = true
			table.push(packetOf(flow, 100, 0), testQuantum)
		}
		require.Greater(t, len(used), 16)
	})
	table := new(flowTable)
	used := make(map[int]bool)
	for flow := range uint32(64) {
		i, _ := table.find(flow * 2654435769)
		used[i] = true
		table.push(packetOf(flow*2654435769, 100, 0), testQuantum)
	}
	require.Greater(t, len(used), 55, "ordinary hashes hardly ever share a queue")
}

// codelLink is a queue that is served at a rate and filled by a source, packet by packet.
type codelLink struct {
	table   *flowTable
	params  codelParams
	dropped tally
	now     int64
}

func (l *codelLink) fill(n int) {
	for range n {
		l.table.push(packetOf(1, 1420, l.now), testQuantum)
	}
}

func TestCoDelLeavesShortQueuesAlone(t *testing.T) {
	l := &codelLink{table: new(flowTable), params: codelParams{target: 5 * ms, interval: 100 * ms, spared: 1420}}
	for range 2000 { // a burst that is gone within the interval
		l.fill(20)
		for range 20 {
			l.now += ms
			require.NotNil(t, l.table.pop(l.now, testQuantum, l.params, &l.dropped))
		}
	}
	require.Zero(t, l.dropped.packets)
}

func TestCoDelDropsByItsLaw(t *testing.T) {
	l := &codelLink{table: new(flowTable), params: codelParams{target: 5 * ms, interval: 100 * ms, spared: 1420}}
	l.fill(50)
	var drops []int64
	for range 1000 {
		l.now += ms
		l.fill(1)
		before := l.dropped.packets
		require.NotNil(t, l.table.pop(l.now, testQuantum, l.params, &l.dropped))
		for range l.dropped.packets - before {
			drops = append(drops, l.now)
		}
	}
	// The first drop comes an interval after the delay was first seen above target, the next ones by 1/sqrt(count).
	require.InDelta(t, 106*ms, drops[0], float64(2*ms))
	require.InDelta(t, 100*ms, drops[1]-drops[0], float64(2*ms))
	require.InDelta(t, 71*ms, drops[2]-drops[1], float64(2*ms))
	require.InDelta(t, 58*ms, drops[3]-drops[2], float64(2*ms))
}

// segmentOf is a packet of the size that fill's have, with data of TCP from a sequence number on.
func segmentOf(flow, sequence uint32, at int64) *Packet {
	p := packetOf(flow, 1420, at)
	p.Data[0], p.Data[9], p.Data[32] = 4<<4|5, 6, 5<<4
	binary.BigEndian.PutUint32(p.Data[24:], sequence)
	return p
}

// TestCoDelSparesWhatIsRepeated: of a queue that stands, CoDel drops as many packets whether or not some are repeated segments, and
// none of those. Where it has several to drop at once, as with a queue that is served slowly, it stops before one of those.
func TestCoDelSparesWhatIsRepeated(t *testing.T) {
	for _, slot := range []int64{ms, 40 * ms} {
		run := func(every int) (lost uint64) {
			l := &codelLink{table: new(flowTable), params: codelParams{target: 5 * ms, interval: 100 * ms, spared: 1420}}
			next := uint32(1<<32 - 1000*1380) // it wraps
			pushed, popped, repeated := 0, 0, 0
			push := func(p *Packet) {
				l.table.push(p, testQuantum)
				if pushed++; p.repeated {
					repeated++
				}
			}
			take := func() bool {
				p := l.table.pop(l.now, testQuantum, l.params, &l.dropped)
				if p == nil {
					return false
				}
				if popped++; p.repeated {
					repeated--
				}
				return true
			}
			for range 3000 {
				for pushed-popped-int(l.dropped.packets) < 50 {
					if pushed%every == 0 {
						next += 1380
					}
					push(segmentOf(1, next, l.now))
				}
				l.now += slot
				require.True(t, take())
			}
			lost = l.dropped.packets
			l.params = patient
			for take() {
			}
			require.Zero(t, repeated, "a repeated one is lost")
			require.Equal(t, pushed, popped+int(l.dropped.packets))
			return lost
		}
		all := run(1)
		require.Greater(t, all, uint64(100))
		for _, every := range []int{2, 5} {
			if dropped := run(every); slot == ms {
				require.InEpsilon(t, all, dropped, 0.25, "one new segment in %d", every)
			}
		}
	}
}

// TestCoDelMakesUpForNothing: after many repeated segments one new one is dropped, not as many as would have been meanwhile.
func TestCoDelMakesUpForNothing(t *testing.T) {
	l := &codelLink{table: new(flowTable), params: codelParams{target: 5 * ms, interval: 100 * ms, spared: 1420}}
	sequence := uint32(1000)
	step := func(repeated bool) (drops uint64) {
		if !repeated {
			sequence += 1380
		}
		l.table.push(segmentOf(1, sequence, l.now), testQuantum)
		before := l.dropped.packets
		l.now += ms
		require.NotNil(t, l.table.pop(l.now, testQuantum, l.params, &l.dropped))
		return l.dropped.packets - before
	}
	for range 50 {
		sequence += 1380
		l.table.push(segmentOf(1, sequence, l.now), testQuantum)
	}
	for l.dropped.packets < 5 {
		step(false)
	}
	for range 1000 {
		step(true)
	}
	require.LessOrEqual(t, l.dropped.packets, uint64(6), "but for what was queued")
	l.dropped = tally{}
	for range 49 + 20 { // what is queued, and 20 new ones behind it: the next drop is due 40 ms after the first
		require.LessOrEqual(t, step(false), uint64(1))
	}
	require.EqualValues(t, 1, l.dropped.packets)
}

// TestRepeated says what a packet is taken for beside what its flow sent before.
func TestRepeated(t *testing.T) {
	udp := segmentOf(1, 1000, 0)
	udp.Data[9] = 17
	syn := segmentOf(1, 1000, 0)
	syn.Data[33] = 2
	for name, c := range map[string]struct {
		packet *Packet
		want   bool
	}{
		"the same":              {segmentOf(1, 5000, 0), true},
		"before it":             {segmentOf(1, 1000, 0), true},
		"after it":              {segmentOf(1, 5001, 0), false},
		"of another connection": {segmentOf(1, 1<<32+5000-maxBehind-1, 0), false},
		"half the numbers away": {segmentOf(1, 5000+1<<31, 0), false},
		"of UDP":                {udp, false},
		"a SYN":                 {syn, false},
		"another flow's":        {segmentOf(2, 5000, 0), false},
	} {
		q := &flowQueue{flow: 1}
		q.push(segmentOf(1, 5000, 0))
		q.push(c.packet)
		require.False(t, q.head.repeated, name)
		require.Equal(t, c.want, c.packet.repeated, name)
	}
	// What is taken for a later connection's is where the next is counted from.
	q := &flowQueue{flow: 1}
	for _, sequence := range []uint32{1 << 30, 1000, 1000} {
		q.push(segmentOf(1, sequence, 0))
	}
	require.True(t, q.tail.repeated)
	// A packet of a queue is judged anew when it is used again.
	p := q.tail
	q.push(&Packet{Flow: 1, Data: segmentOf(1, 9000, 0).Data})
	p.Data = segmentOf(1, 10_000, 0).Data
	q.push(p)
	require.False(t, p.repeated)
}

func TestCoDelNeverDropsTheLastPacket(t *testing.T) {
	l := &codelLink{table: new(flowTable), params: codelParams{target: 5 * ms, interval: 100 * ms, spared: 1420}}
	for range 100 {
		l.fill(1)
		l.now += 1000 * ms // far above any target, but nothing stands behind it
		require.NotNil(t, l.table.pop(l.now, testQuantum, l.params, &l.dropped))
	}
	require.Zero(t, l.dropped.packets)
}

// TestSpared: three packets may stand behind one, for TCP to notice its loss, unless that would take too long.
func TestSpared(t *testing.T) {
	planner, err := NewPlanner(1420, Tuning{})
	require.NoError(t, err)
	for rate, packets := range map[Rate]int32{100e6: 3, 1e6: 3, 512e3: 2, 256e3: 1, MinRate: 1} {
		var params codelParams
		params.spare(1420, int64(planner.slot(rate)))
		require.Equal(t, packets*1420, params.spared, rate.String())
	}
	var unlimited codelParams
	unlimited.spare(1420, 0)
	require.EqualValues(t, 3*1420, unlimited.spared)
}
