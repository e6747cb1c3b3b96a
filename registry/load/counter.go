package load

import (
	"math"
	"time"
)

// busyMeter makes fractions of readings of a [Busy].
type busyMeter struct {
	last Busy
}

// add returns which fraction was used since the reading before, if that can be told.
func (m *busyMeter) add(now Busy) (float64, bool) {
	if now.Total == 0 {
		return 0, false
	}
	before := m.last
	m.last = now
	if before.Total == 0 || before.Source != now.Source || now.Total <= before.Total || now.Used < before.Used {
		return 0, false
	}
	return min(float64(now.Used-before.Used)/float64(now.Total-before.Total), 1), true
}

// rates are what passed an interface, in bit/s and packets/s.
type rates struct {
	received, sent, receivedPackets, sentPackets float64
}

// uplinkMeter makes rates of readings of an [Uplink].
type uplinkMeter struct {
	last Uplink
	at   time.Time
}

// add returns the rates since the reading before, if they can be told.
func (m *uplinkMeter) add(now Uplink, at time.Time) (rates, bool) {
	if now.Name == "" {
		return rates{}, false
	}
	before, elapsed := m.last, at.Sub(m.at)
	m.last, m.at = now, at
	if before.Name != now.Name || before.Index != now.Index {
		return rates{}, false
	}
	const bits = 8
	most := math.Inf(1)
	if now.Capacity > 0 {
		const burst = 1.5 // a link's counters may be read late, never by half of the time
		most = burst * float64(now.Capacity) / bits * elapsed.Seconds()
	}
	grown, ok := growth(
		[...]uint64{before.ReceivedBytes, before.SentBytes, before.ReceivedPackets, before.SentPackets},
		[...]uint64{now.ReceivedBytes, now.SentBytes, now.ReceivedPackets, now.SentPackets},
		most, // more packets than bytes there are not
	)
	if !ok {
		return rates{}, false
	}
	rate := func(n uint64) float64 { return float64(n) / elapsed.Seconds() }
	return rates{bits * rate(grown[0]), bits * rate(grown[1]), rate(grown[2]), rate(grown[3])}, true
}

const (
	wrap        = 1 << 32 // what a counter of 32 bits counts to
	mostWrapped = wrap / 2
)

// growth says by how much counters of one interface grew, where none of those that are lower than before can have grown by more
// than most. It fails if neither a wrap nor a beginning explains what they show.
func growth(before, now [4]uint64, most float64) (grown [4]uint64, ok bool) {
	anew := false
	for i := range now {
		switch {
		case now[i] >= before[i]:
			grown[i] = now[i] - before[i]
		case before[i] < wrap && now[i]+wrap-before[i] < mostWrapped && float64(now[i]+wrap-before[i]) <= most:
			grown[i] = now[i] + wrap - before[i]
		default:
			anew = true
		}
	}
	if !anew {
		return grown, true
	}
	for _, n := range now {
		if float64(n) > most {
			return grown, false
		}
	}
	return now, true
}

// whole is a rate as a whole number.
func whole(rate float64) int64 {
	if rate >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(math.Round(rate))
}
