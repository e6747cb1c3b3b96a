package shaping

import (
	"math"
	"math/bits"
)

const (
	// unitsPerByte makes token arithmetic exact: a bucket counts in units of which a class of r bit/s gains r each
	// nanosecond, and a byte costs 8e9. Nothing is ever rounded, so no rate is lost or gained however often a bucket is
	// looked at.
	unitsPerByte = 8_000_000_000

	// never is a time that does not come.
	never int64 = math.MaxInt64
)

// bucket is a token bucket that may go into debt: a packet passes while there are tokens at all, and what it costs beyond
// them is paid back before the next. So a packet longer than the burst passes too, and the time of the next packet does
// not depend on which packet that will be. In any window a bucket passes at most rate*window + burst + one packet.
//
// The zero value is unlimited. Times are nanoseconds on the scheduler's clock.
type bucket struct {
	rate   int64  // bit/s; 0 is no limit
	burst  int64  // units
	tokens int64  // units, negative for a debt
	last   moment // when tokens was right
}

// moment is a time on the scheduler's clock, in ns, and how long until then the scheduler had been late altogether.
type moment struct {
	now, stalled int64
}

// set changes rate and burst from now on. Tokens are kept, in bytes, and clamped to the new burst; debts stay. A bucket that
// had no limit begins full.
func (b *bucket) set(params Params, at moment) {
	if params.Ceil >= MaxRate {
		*b = bucket{last: at}
		return
	}
	fresh := b.rate == 0
	b.refill(at)
	b.rate, b.burst, b.last = int64(params.Ceil), int64(params.Cburst)*unitsPerByte, at
	if fresh || b.tokens > b.burst {
		b.tokens = b.burst
	}
}

// refill adds what came in since the last refill, up to the burst.
func (b *bucket) refill(at moment) { b.fill(at, b.burst) }

// refillWaiting is refill for a class that has been waiting since the last refill. Time for which the scheduler was late, up
// to maxLate, is owed to it beyond the burst.
func (b *bucket) refillWaiting(at moment) {
	limit := b.burst
	if late := at.stalled - b.last.stalled; late > 0 && b.rate != 0 {
		limit += b.rate * min(late, maxLate, maxBurst*unitsPerByte/b.rate)
	}
	b.fill(at, limit)
}

func (b *bucket) fill(at moment, limit int64) {
	elapsed := at.now - b.last.now
	if b.rate == 0 || elapsed <= 0 {
		return
	}
	b.last = at
	room := max(limit-b.tokens, 0)
	if hi, gain := bits.Mul64(uint64(b.rate), uint64(elapsed)); hi != 0 || gain > uint64(room) {
		b.tokens += room
	} else {
		b.tokens += int64(gain)
	}
}

// trim takes away what lateness left above the burst; a class that no longer waits is owed nothing.
func (b *bucket) trim() { b.tokens = min(b.tokens, b.burst) }

// open reports whether a packet may pass.
func (b *bucket) open() bool { return b.rate == 0 || b.tokens > 0 }

// full reports that no time can add to the tokens.
func (b *bucket) full() bool { return b.rate == 0 || b.tokens >= b.burst }

// ready is refill and open in one.
func (b *bucket) ready(at moment) bool {
	b.refill(at)
	return b.open()
}

// take charges n bytes; a negative n gives back.
func (b *bucket) take(n int64) {
	if b.rate != 0 {
		b.tokens -= n * unitsPerByte
	}
}

// bytes returns how many bytes may pass before the bucket shuts, the last one on debt.
func (b *bucket) bytes() int64 {
	switch {
	case b.rate == 0:
		return math.MaxInt64
	case b.tokens <= 0:
		return 0
	}
	return (b.tokens-1)/unitsPerByte + 1
}

// opensAt returns when the bucket will be open.
func (b *bucket) opensAt() int64 {
	if b.open() {
		return b.last.now
	}
	return b.last.now - b.tokens/b.rate + 1
}
