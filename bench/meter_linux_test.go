package bench

import (
	"sync"
	"time"
)

// meterWindow is how often a meter looks at what it counts.
const meterWindow = 25 * time.Millisecond

// reading is how much there was at a time.
type reading struct {
	at    time.Time
	bytes uint64
}

// meter follows counters that only rise, all read together every meterWindow, each from 0.
type meter struct {
	read func() []uint64
	stop chan struct{}
	wait sync.WaitGroup

	series [][]reading // one for each counter; the goroutine's until wait
}

// follow begins to read counters; end must be called.
func follow(read func() []uint64) *meter {
	m := &meter{read: read, stop: make(chan struct{})}
	m.look()
	m.wait.Go(func() {
		tick := time.NewTicker(meterWindow)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.look()
			case <-m.stop:
				m.look()
				return
			}
		}
	})
	return m
}

func (m *meter) look() {
	before := time.Now()
	counts := m.read()
	at := before.Add(time.Since(before) / 2) // reading takes a while on a busy machine
	if m.series == nil {
		m.series = make([][]reading, len(counts))
	}
	for i, n := range counts {
		m.series[i] = append(m.series[i], reading{at, n})
	}
}

// end stops reading and returns the series, one for each counter. It may be called once.
func (m *meter) end() []series {
	close(m.stop)
	m.wait.Wait()
	all := make([]series, len(m.series))
	for i, readings := range m.series {
		all[i] = readings
	}
	return all
}

// series is what a counter was over a time.
type series []reading

// sum adds series that were read together.
func sum(all []series) series {
	total := make(series, len(all[0]))
	for i := range total {
		total[i].at = all[0][i].at
		for _, s := range all {
			total[i].bytes += s[i].bytes
		}
	}
	return total
}

// begin cuts off what was before the first byte came, but for the reading before it.
func (s series) begin() series {
	for i := range s {
		if s[i].bytes > s[0].bytes {
			return s[i-1:]
		}
	}
	return nil
}

// rate is bit/s from a time after the first reading to the last one, 0 if there are no two such readings.
func (s series) rate(after time.Duration) float64 {
	for i := range s {
		if s[i].at.Sub(s[0].at) >= after && i < len(s)-1 {
			last := s[len(s)-1]
			return float64(last.bytes-s[i].bytes) * 8 / last.at.Sub(s[i].at).Seconds()
		}
	}
	return 0
}

// part is how many percent of what a rate in bit/s allows came in the first part of a series.
func (s series) part(first time.Duration, rate float64) float64 {
	for _, r := range s {
		if since := r.at.Sub(s[0].at); since >= first {
			return 100 * float64(r.bytes-s[0].bytes) * 8 / (rate * since.Seconds())
		}
	}
	return 0
}

// excess is the most bytes that came in the first part of a series beyond what a rate in bit/s allows for the time since the
// first reading: what a limit that was not used for a while lets pass at once.
func (s series) excess(rate float64, first time.Duration) float64 {
	var most float64
	for _, r := range s {
		since := r.at.Sub(s[0].at)
		if since > first {
			break
		}
		most = max(most, float64(r.bytes-s[0].bytes)-rate/8*since.Seconds())
	}
	return most
}

// errorPercent is how far a measured rate is from the configured one: negative for too slow.
func errorPercent(measured, configured float64) float64 { return 100 * (measured/configured - 1) }
