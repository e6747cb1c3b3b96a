package shaping

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// reno is a TCP sender in a few lines: slow start, one more packet a round trip, half the window on a loss.
type reno struct {
	src       *source
	flow      uint32
	rtt       time.Duration // without queueing
	window    float64
	threshold float64
	inFlight  int
	expected  uint64
	recover   uint64 // losses up to here are one event
	acks      []event
	waits     []time.Duration
	bytes     int
	passive   bool // only listens
}

func newReno(src *source, flow uint32, rtt time.Duration) *reno {
	return &reno{src: src, flow: flow, rtt: rtt, window: 10, threshold: 1e9}
}

func (r *reno) step(now time.Duration) {
	if r.passive {
		return
	}
	for len(r.acks) > 0 && r.acks[0].at+r.rtt <= now {
		e := r.acks[0]
		r.acks = r.acks[1:]
		lost := int(e.seq - r.expected)
		r.expected = e.seq + 1
		r.inFlight -= 1 + lost
		switch {
		case lost > 0 && e.seq >= r.recover:
			r.window = max(r.window/2, 2)
			r.threshold, r.recover = r.window, r.src.next[r.flow]
		case r.window < r.threshold:
			r.window++
		default:
			r.window += 1 / r.window
		}
	}
	for r.inFlight < int(r.window) {
		r.src.send(r.flow, testMTU, 1)
		r.inFlight++
	}
}

// runTCP runs senders for a time and hands what came out to them.
func (w *world) runTCP(d time.Duration, senders ...*reno) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		for _, e := range w.events() {
			for _, r := range senders {
				if e.src.id == r.src.id && e.flow == r.flow {
					r.acks = append(r.acks, e)
					r.waits = append(r.waits, e.wait)
					r.bytes += e.n
				}
			}
		}
		for _, r := range senders {
			r.step(time.Since(w.start))
		}
		synctest.Wait()
	}
}

func (r *reno) forget() { r.waits, r.bytes = nil, 0 }

func mean(waits []time.Duration) (mean, most time.Duration) {
	for _, d := range waits {
		mean += d
		most = max(most, d)
	}
	return mean / time.Duration(max(len(waits), 1)), most
}

// TestTCPKeepsQueuesShort: TCP fills its limit, and those who share it hardly notice.
func TestTCPKeepsQueuesShort(t *testing.T) {
	for rate, bound := range map[Rate]time.Duration{1e6: 40 * time.Millisecond, 10e6: 15 * time.Millisecond, 100e6: 10 * time.Millisecond} {
		t.Run(rate.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a := w.leaf("a", "", rate)
				tcp := newReno(a, 1, 30*time.Millisecond)
				w.runTCP(3*time.Second, tcp)
				tcp.forget()
				const d = 10 * time.Second
				w.runTCP(d, tcp)
				mean, _ := mean(tcp.waits)
				t.Logf("%v: queued for %v on average, %.1f %% used", rate, mean, float64(tcp.bytes)*800/float64(rate)/d.Seconds())
				require.Less(t, mean, bound)
				require.Greater(t, float64(tcp.bytes)*8, 0.85*float64(rate)*d.Seconds())
			})
		})
	}
}

// TestSparseFlowPassesBulk: a ping beside four TCP streams of the same peer waits for a packet or two, not for their queue.
func TestSparseFlowPassesBulk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.leaf("a", "", 10e6)
		var senders []*reno
		for flow := range uint32(4) {
			senders = append(senders, newReno(a, flow, 20*time.Millisecond))
		}
		ping := &reno{src: a, flow: 99, passive: true}
		w.runTCP(3*time.Second, senders...)
		for range 200 {
			a.send(99, 84, 1)
			w.runTCP(20*time.Millisecond, append(senders, ping)...)
		}
		require.Len(t, ping.waits, 200, "none is lost")
		average, most := mean(ping.waits)
		t.Logf("ping waits %v on average, %v at most", average, most)
		require.Less(t, average, 5*time.Millisecond)
		require.Less(t, most, 20*time.Millisecond)
		for _, r := range senders {
			require.InDelta(t, senders[0].bytes, r.bytes, 0.1*float64(senders[0].bytes), "streams share equally")
		}
	})
}

// TestFloodIsBounded: a flood that heeds no loss delays itself by no more than the queue's bound, others by hardly anything.
func TestFloodIsBounded(t *testing.T) {
	for _, rate := range []Rate{1e6, 10e6, 50e6} {
		t.Run(rate.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.group("g", rate)
				a, b := w.leaf("a", "g", 0), w.leaf("b", "g", 0)
				perMS := 3 * int(rate.Bytes(time.Millisecond)/testMTU+1)
				var flood, calm []time.Duration
				bytes := map[uint32]int{}
				for i := range 5000 {
					a.send(1, testMTU, perMS)
					if i%50 == 0 {
						a.send(2, 100, 1)
					}
					time.Sleep(time.Millisecond)
					for _, e := range w.events() {
						bytes[e.flow] += e.n
						if e.flow == 1 {
							flood = append(flood, e.wait)
						} else {
							calm = append(calm, e.wait)
						}
					}
				}
				_, worst := mean(flood)
				require.Less(t, worst, 250*time.Millisecond)
				require.Len(t, calm, 100, "not a packet of the calm flow is lost")
				_, worst = mean(calm)
				require.Less(t, worst, 2*rate.Duration(testMTU)+3*time.Millisecond)
				total := bytes[1] + bytes[2]
				require.InDelta(t, float64(rate), float64(total)*8/5, 0.02*float64(rate), "drops cost no throughput")
				_ = b
			})
		})
	}
}

// TestFlowsOfOneLeafShare: a greedy flow gets no more than its fair part.
func TestFlowsOfOneLeafShare(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.leaf("a", "", 10e6)
		for range 3000 {
			a.send(1, testMTU, 6) // 68 Mbit/s
			a.send(2, testMTU, 1) // 11 Mbit/s
			a.send(3, 700, 2)     // 11 Mbit/s
			time.Sleep(time.Millisecond)
		}
		bytes := map[uint32]int{}
		for _, e := range w.events() {
			bytes[e.flow] += e.n
		}
		for flow := range uint32(3) {
			require.InDelta(t, 10e6/8, bytes[flow+1], 0.03*10e6/8, "flow %d", flow+1)
		}
	})
}

// TestCoDelKnowsTheShare: what a leaf can have at most is its ceiling, or its share of a ceiling above.
func TestCoDelKnowsTheShare(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		slot := func(rate Rate) int64 { return int64(rate.Duration(testMTU * 3 / 2)) }
		w.group("g", 10e6)
		var busy []*source
		for _, id := range leafNames(10) {
			busy = append(busy, w.leaf(id, "g", 0))
		}
		a := busy[0].leaf
		g := a.group.Load()
		usual := a.codelParams(g)
		require.Equal(t, w.s.codel.target, usual.target, "an idle group's ceiling needs no more than the usual target")
		require.Equal(t, w.s.codel.interval, usual.interval)
		w.run(10*time.Millisecond, busy...)
		require.InDelta(t, slot(1e6), a.codelParams(g).target, 100)
		w.leaf("leaf0", "g", 100e3)
		require.Equal(t, slot(100e3), a.codelParams(g).target)
		require.Equal(t, int64(2)*slot(100e3), a.codelParams(g).interval)
		require.NoError(t, w.s.SetRoot(MinRate))
		require.Equal(t, slot(MinRate), a.codelParams(g).target)
	})
}
