package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
)

// BenchmarkOverhead measures what limits, caps and rules cost: TCP of one client through one node, whose peer has them all for a
// slice of time, and none of them for the next. Connections go on meanwhile, and slices are short, so that what a machine does to one
// side it does to the other.
func BenchmarkOverhead(b *testing.B) {
	streams, sizes := []int{1, 8}, []int{1, 10_000}
	if full() {
		streams, sizes = []int{1, 8, 64}, []int{1, 100, 10_000}
	}
	s := newSite(b)
	for _, peers := range sizes {
		c := startPath(b, s, whole, peers, 0)
		for _, d := range []direction{up, down} {
			for _, n := range streams {
				b.Run(fmt.Sprintf("peers=%d/direction=%s/streams=%d", peers, d, n), func(b *testing.B) { overhead(b, c, d, n) })
			}
		}
	}
}

// slice is what came in a part of the time, with limits or without.
type slice struct {
	bits, seconds, cpu float64
}

func (s slice) plus(t slice) slice {
	return slice{s.bits + t.bits, s.seconds + t.seconds, s.cpu + t.cpu}
}

func (s slice) rate() float64 { return s.bits / s.seconds }

func (s slice) work() float64 { return s.cpu / s.bits }

func overhead(b *testing.B, c *client, d direction, streams int) {
	const (
		length = time.Second
		settle = 200 * time.Millisecond
	)
	turns := 8
	if full() {
		turns = 16
	}
	var rates, rateRatios, workRatios []float64
	for b.Loop() {
		t := startBulk(b, c, d, streams)
		time.Sleep(rampUp)
		measure := func(limited bool) slice {
			c.exit.apply(b, restraint(c.peer.PeerState, limited))
			time.Sleep(settle)
			bytes, cpu, began := t.bytes.Load(), c.exit.usage(b).CPU, time.Now()
			time.Sleep(length)
			return slice{
				8 * float64(t.bytes.Load()-bytes), time.Since(began).Seconds(), (c.exit.usage(b).CPU - cpu).Seconds(),
			}
		}
		for range turns {
			// A speed that rises or falls steadily is the same to both.
			one, other, another := measure(true), measure(false).plus(measure(false)), measure(true)
			limited := one.plus(another)
			rates = append(rates, limited.rate())
			rateRatios = append(rateRatios, limited.rate()/other.rate())
			workRatios = append(workRatios, limited.work()/other.work())
		}
		t.stop()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(rates)/1e6, "Mbit/s")
	b.ReportMetric(middle(rateRatios), "of-plain")
	b.ReportMetric(middle(workRatios), "work-of-plain")
}

// restraint has the busy peer have limits, a cap and a policy, or none of them.
func restraint(p wgnode.PeerState, limited bool) wgnode.Change {
	policy := somePolicy()
	if limited {
		farAbove(&p)
	} else {
		unlimited := wgnode.PeerState{}
		p.SpeedLimit, p.Budget, policy = unlimited.SpeedLimit, unlimited.Budget, isolation.Policy{}
	}
	return wgnode.Change{Policy: &policy, SetPeers: []wgnode.PeerState{p}}
}

// middle is the median.
func middle(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
