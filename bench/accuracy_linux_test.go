package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// rampSpan is the beginning of a load, of which a limit may let pass more than its rate, and TCP come to less.
const rampSpan = 200 * time.Millisecond

// settled is how long after its first byte a load is measured from.
const settled = 700 * time.Millisecond

// overload is how much more datagrams come to than the limit.
const overload = 1.5

// accuracyCase is one measurement of BenchmarkAccuracy.
type accuracyCase struct {
	limit shaping.Rate
	loadSpec
}

// accuracyCases are all that is measured in a full run, or some of each kind.
func accuracyCases() (list []accuracyCase) {
	limits, sizes := []shaping.Rate{256e3, 1e6, 10e6, 100e6, 1e9}, []bool{false, true}
	if !full() {
		limits = []shaping.Rate{1e6, 10e6, 100e6}
	}
	for _, limit := range limits {
		for _, network := range []string{"tcp", "udp"} {
			for _, flows := range []int{1, 16} {
				for _, small := range sizes {
					for _, d := range []direction{down, up} {
						usual := flows == 1 && !small && (d == down || limit == 10e6)
						if full() || usual {
							list = append(list, accuracyCase{limit, loadSpec{network: network, direction: d, flows: flows, small: small}})
						}
					}
				}
			}
		}
	}
	return list
}

// BenchmarkAccuracy compares what arrives at the receiver with the configured limit, in bytes of IP packets inside the tunnel, once
// the load has settled: err-%. node-err-% is the same by the node's own counters. ramp-% is what the first 200 ms brought, as a
// part of what the limit is for, and burst-B how many bytes came in them beyond it at any time. A load of which less arrives without a
// limit than the limit is for has none of these, but unlimited-Mbit/s: the machine does not carry more.
func BenchmarkAccuracy(b *testing.B) {
	for _, path := range []string{inUserspace, inKernel} {
		b.Run("path="+path, func(b *testing.B) {
			s := newSite(b)
			p := newPeer(b, 0)
			x := s.startExit(b, exitConfig{Dataplane: path, State: wgnode.State{Peers: []wgnode.PeerState{p.PeerState}}})
			c := s.connect(b, x, p)
			for _, t := range accuracyCases() {
				b.Run(fmt.Sprintf("limit=%s/%s", short(t.limit), t.loadSpec), func(b *testing.B) { accuracy(b, c, t) })
			}
		})
	}
}

func accuracy(b *testing.B, c *client, t accuracyCase) {
	t.offered = shaping.Rate(overload * float64(t.limit))
	length := span()
	if t.limit <= 1e6 && !full() {
		length *= 2 // a packet more or less is half a percent of what comes in 2 s
	}
	var failure, node, ramp, burst, rate float64
	for b.Loop() {
		got, counted := limited(b, c, t.limit, t.loadSpec, length)
		rate += got.rate(settled)
		failure += errorPercent(got.rate(settled), float64(t.limit))
		node += errorPercent(counted.rate(settled), float64(t.limit))
		ramp += got.part(rampSpan, float64(t.limit))
		burst += got.excess(float64(t.limit), rampSpan)
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate/n/1e6, "Mbit/s")
	if failure/n < -suspect {
		if got, _ := limited(b, c, shaping.Unlimited, t.loadSpec, length); got.rate(settled) < float64(t.limit) {
			b.ReportMetric(got.rate(settled)/1e6, "unlimited-Mbit/s")
			return
		}
	}
	b.ReportMetric(failure/n, "err-%")
	b.ReportMetric(node/n, "node-err-%")
	b.ReportMetric(ramp/n, "ramp-%")
	b.ReportMetric(burst/n, "burst-B")
}

// suspect is by how many percent a rate is below its limit when the machine may not carry more.
const suspect = 2

// limited is what arrives of a load under a limit, and what the node counts of it.
func limited(b *testing.B, c *client, limit shaping.Rate, spec loadSpec, length time.Duration) (got, counted series) {
	state := c.peer.PeerState
	state.SpeedLimit = shaping.Limit{Download: limit, Upload: limit}
	c.exit.apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{state}})
	time.Sleep(emptied) // of the load before
	l := startLoad(b, c, spec)
	m := follow(func() []uint64 { return []uint64{l.delivered(), c.counted(b, spec.direction)} })
	time.Sleep(settled + length)
	all := m.end()
	l.stop()
	got, counted = all[0].begin(), all[1].begin()
	require.NotNil(b, got, "nothing arrives")
	return got, counted
}

// emptied is how long what is left of a load stays in queues.
const emptied = 300 * time.Millisecond

// counted is what the node has counted of a client in one direction.
func (c *client) counted(tb testing.TB, d direction) uint64 {
	tb.Helper()
	counters := c.exit.counters(tb, c.peer.PublicKey).Counters
	if d == up {
		return counters.Upload
	}
	return counters.Download
}
