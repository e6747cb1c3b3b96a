package conformance

import (
	"math"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// What the suite holds a speed limit to.
const (
	// tolerance is the part by which a measured rate may differ from its limit.
	tolerance = 0.03
	// bursts is the part by which more may pass in some windows: what a bucket saved, and a queue took in, just before.
	bursts = 0.06
	// settling lets TCP find its pace and a bucket that was full run empty before anything is measured.
	settling = 700 * time.Millisecond
	window   = 800 * time.Millisecond
	// A claim is measured over at least minWindows, and up to maxWindows until it reached the limit: the machine may have
	// had other things to do in the first ones. A machine that is busy all the time is not given so many.
	minWindows  = 2
	busyWindows = 4
	maxWindows  = 8
)

// claim is what some flows must come to together.
type claim struct {
	name  string
	flows []*flow
	rate  shaping.Rate
	// lift takes the limit away, to see what the machine can carry, and returns the way back.
	lift func() (restore func())
}

// claimOf is the claim that one flow runs at its client's limit.
func (w *world) claimOf(f *flow, rate shaping.Rate) claim {
	return claim{name: f.name, flows: []*flow{f}, rate: rate, lift: w.lifter(f.client.subject(), directedLimit(f.direction, rate))}
}

// lifter takes a limit from a subject and gives it back.
func (w *world) lifter(s wgnode.Subject, limit shaping.Limit) func() (restore func()) {
	return func() (restore func()) {
		w.setLimit(s, shaping.Limit{})
		return func() { w.setLimit(s, limit) }
	}
}

// sample is what flows had moved at one moment, which lies between from and to.
type sample struct {
	from, to  time.Time
	delivered []uint64 // at the receiving end, by claim
	passed    []uint64 // as the dataplane has it, by claim
}

func (w *world) sample(claims []claim) sample {
	w.t.Helper()
	s := sample{from: time.Now()}
	for _, c := range claims {
		var delivered, passed uint64
		for _, f := range c.flows {
			delivered += f.delivered()
			passed += w.passed(f)
		}
		s.delivered, s.passed = append(s.delivered, delivered), append(s.passed, passed)
	}
	s.to = time.Now()
	return s
}

func directed(c quota.Counters, d quota.Direction) uint64 {
	if d == quota.Download {
		return c.Download
	}
	return c.Upload
}

// bitsPerSecond is a rate over a time.
func bitsPerSecond(bytes uint64, d time.Duration) float64 { return float64(bytes) * 8 / d.Seconds() }

// hold asserts that each claim holds, all measured at the same time.
//
// Never faster: what the dataplane let pass over the whole measurement, and what was delivered since the flow began, are
// at most the limit and the tolerance. A busy machine can only make these less, but for what it held up before the measurement where
// passing is seen behind the queue: that is little of a long one.
//
// Never slower: over some span of the measurement the receiving end got the limit, give or take the tolerance. If a flow
// reaches it over none, that is the dataplane's fault unless the machine is shown to be in the way; see excuse. It returns
// false when it was, so that nothing else can be said of how fast the flows were.
func (w *world) hold(claims ...claim) (conclusive bool) {
	w.t.Helper()
	clock := watchClock()
	defer clock.stop()
	time.Sleep(settling)
	samples := []sample{w.sample(claims)}
	for most := minWindows; len(samples) <= most; {
		time.Sleep(window)
		samples = append(samples, w.sample(claims))
		if most = maxWindows; clock.late() > mostStarved {
			most = busyWindows
		}
		if len(samples) > minWindows && allReached(claims, samples) && nonePassedMore(claims, samples) {
			break
		}
	}
	starved := clock.late()
	for i, c := range claims {
		limit := float64(c.rate)
		passed := passedRate(samples, i)
		since := c.sinceBegan()
		w.t.Logf("%-28s limit %8.3f: reached %8.3f, passed %8.3f, delivered since start %8.3f Mbit/s, %d windows",
			c.name, limit/1e6, closest(c, samples, i)/1e6, passed/1e6, since/1e6, len(samples)-1)
		require.LessOrEqual(w.t, passed, limit*(1+bursts), "%s: the dataplane let pass more than the limit", c.name)
		require.LessOrEqual(w.t, since, limit*(1+tolerance), "%s: more than the limit was delivered", c.name)
		for _, f := range c.flows {
			if err := f.broken.Load(); err != nil {
				require.NoError(w.t, *err)
			}
		}
	}
	conclusive = true
	for i, c := range claims {
		if reached := closest(c, samples, i); !c.near(reached) {
			w.excuse(c, reached, starved)
			conclusive = false
		}
	}
	return conclusive
}

// near reports whether a rate in bit/s is the claim's, give or take the tolerance.
func (c claim) near(rate float64) bool { return math.Abs(rate/float64(c.rate)-1) <= tolerance }

// closest is the delivered rate of a claim, the i-th, that is nearest to its limit, over any span of whole windows.
func closest(c claim, samples []sample, i int) float64 {
	best := 0.0
	for from := range samples {
		for to := from + 1; to < len(samples); to++ {
			rate := bitsPerSecond(samples[to].delivered[i]-samples[from].delivered[i], samples[to].from.Sub(samples[from].to))
			if math.Abs(rate-float64(c.rate)) < math.Abs(best-float64(c.rate)) {
				best = rate
			}
		}
	}
	return best
}

func allReached(claims []claim, samples []sample) bool {
	for i, c := range claims {
		if !c.near(closest(c, samples, i)) {
			return false
		}
	}
	return true
}

// passedRate is the rate at which the dataplane let a claim's flows pass.
func passedRate(samples []sample, i int) float64 {
	first, last := samples[0], samples[len(samples)-1]
	return bitsPerSecond(last.passed[i]-first.passed[i], last.to.Sub(first.from))
}

func nonePassedMore(claims []claim, samples []sample) bool {
	for i, c := range claims {
		if passedRate(samples, i) > float64(c.rate)*(1+bursts) {
			return false
		}
	}
	return true
}

// sinceBegan is the rate at which the claim's flows delivered since the first of them began or was restarted.
func (c claim) sinceBegan() float64 {
	began := c.flows[0].began
	var sum uint64
	for _, f := range c.flows {
		sum += f.sinceBegan()
		if f.began.Before(began) {
			began = f.began
		}
	}
	return bitsPerSecond(sum, time.Since(began))
}

// ratio compares two amounts that ought to be equal: 1 says that they are, 0 that one has nothing.
func ratio(a, b uint64) float64 {
	return float64(min(a, b)) / math.Max(1, float64(max(a, b)))
}
