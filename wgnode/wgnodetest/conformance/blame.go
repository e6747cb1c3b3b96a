package conformance

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
)

// excuse fails the test unless the machine is shown to be to blame for what a claim did not reach: the process was kept
// from running, or, under the race detector or on an emulated machine, the same flow is hardly faster without the limit, or reaches the
// limit thereafter.
func (w *world) excuse(c claim, reached, starved float64) {
	w.t.Helper()
	verdict := fmt.Sprintf("%s reached %.3f Mbit/s of %v", c.name, reached/1e6, c.rate)
	if starved > mostStarved {
		w.t.Logf("%s: the machine kept this process waiting for %.0f %% of the time, so that only the upper bound is asserted",
			verdict, 100*starved)
		return
	}
	restore := c.lift()
	time.Sleep(settling)
	before := w.sample([]claim{c})
	time.Sleep(window)
	after := w.sample([]claim{c})
	restore()
	carried := bitsPerSecond(after.delivered[0]-before.delivered[0], after.from.Sub(before.to))
	verdict = fmt.Sprintf("%s; without the limit it carries %.3f Mbit/s", verdict, carried/1e6)
	if (raceEnabled || w.traits.Emulated) && carried < float64(c.rate)*1.1 {
		w.t.Logf("%s: the race detector or the emulated machine is too slow here, so that only the upper bound is asserted", verdict)
		return
	}
	if w.traits.Emulated && reached >= float64(c.rate)*emulatedLeast {
		w.t.Logf("%s: near enough for an emulated machine", verdict)
		return
	}
	time.Sleep(settling)
	samples := []sample{w.sample([]claim{c})}
	for range minWindows {
		time.Sleep(window)
		samples = append(samples, w.sample([]claim{c}))
	}
	if raceEnabled && c.near(closest(c, samples, 0)) {
		w.t.Logf("%s; and now it reaches its limit: the machine had other things to do", verdict)
		return
	}
	require.Fail(w.t, "slower than the limit", verdict)
}

// emulatedLeast is the part of its limit that a flow must reach on an emulated machine, whose clock does not run evenly.
const emulatedLeast = 0.9

// mostStarved is the part of the time for which the process may be kept waiting before a rate that is not reached says
// nothing.
const mostStarved = 0.1

// clock looks at how late a timer fires.
type clock struct {
	began time.Time
	lost  atomic.Int64 // nanoseconds of lateness
	stop  func()
}

func watchClock() *clock {
	const nap, usual = 2 * time.Millisecond, 2 * time.Millisecond
	done := make(chan struct{})
	c := &clock{began: time.Now(), stop: func() { close(done) }}
	go func() {
		for last := c.began; ; {
			select {
			case <-done:
				return
			case <-time.After(nap):
			}
			now := time.Now()
			c.lost.Add(int64(max(now.Sub(last)-nap-usual, 0)))
			last = now
		}
	}()
	return c
}

// late is the part of the time that was lost to lateness.
func (c *clock) late() float64 { return float64(c.lost.Load()) / float64(time.Since(c.began)) }
