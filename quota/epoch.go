package quota

import "sync/atomic"

// epoch is a stretch of a meter's life under one budget. All that packets change is one word, so that a single
// compare-and-swap admits a packet against the sum of both directions, counts it in its own, and cannot slip past a change
// of budget:
//
//	bit 63      sealed: the epoch is over, the word is final
//	bit 62      latched: a packet was refused
//	bits 61-31  download bytes since base
//	bits 30-0   upload bytes since base
//
// A change of budget seals the word, which makes every packet under way try again, and replaces the epoch by one that
// starts from the final counters. Whoever finds a sealed epoch replaces it himself rather than wait, so that nobody waits
// for a goroutine that the scheduler has put aside. An epoch whose fields run full is replaced in the same way, once per
// GiB; that is the only allocation on the packet path.
type epoch struct {
	word   atomic.Uint64
	budget Budget
	// base and the fields of word add up to the counters, modulo 2^64.
	base Counters
}

const (
	sealed     uint64 = 1 << 63
	latched    uint64 = 1 << 62
	fieldBits         = 31
	fieldMax   int64  = 1<<fieldBits - 1
	fieldMask         = uint64(fieldMax)
	fieldStart uint64 = 1 << (fieldBits - 1) // in the middle, since refunds may go below where an epoch began
)

// newEpoch also returns what its word says as yet.
func newEpoch(c Counters, b Budget, cutOff bool) (*epoch, reading) {
	e := &epoch{budget: b, base: Counters{Download: c.Download - fieldStart, Upload: c.Upload - fieldStart}}
	word := fieldStart<<fieldBits | fieldStart
	if cutOff {
		word |= latched
	}
	e.word.Store(word)
	return e, e.read(word)
}

// reading is what an epoch's word says.
type reading struct {
	counters Counters
	latched  bool
}

func (e *epoch) read(word uint64) reading {
	return reading{
		counters: Counters{
			Download: e.base.Download + word>>fieldBits&fieldMask,
			Upload:   e.base.Upload + word&fieldMask,
		},
		latched: word&latched != 0,
	}
}

// shift is where a direction's field begins.
func shift(d Direction) uint {
	if d == Upload {
		return 0
	}
	return fieldBits
}

// fits reports whether a direction's field can change by n.
func fits(word uint64, d Direction, n int) bool {
	v := int64(word>>shift(d)&fieldMask) + int64(n)
	return 0 <= v && v <= fieldMax
}

// take returns the word after a packet that fits its field, and what is to become of the packet.
func (e *epoch) take(word uint64, d Direction, n int) (uint64, Verdict) {
	next := word + uint64(n)<<shift(d)
	b := &e.budget
	if !b.Limited {
		return next, Pass
	}
	before := e.read(word)
	if b.AtEnd == Block {
		switch counted := before.counters.Of(b.Counted); {
		case before.latched || counted >= b.Limit:
			return word, Refuse
		case b.Counted.Counts(d) && uint64(n) > b.Limit-counted:
			return word | latched, Refuse
		}
		return next, Pass
	}
	if b.depleted(before) || e.read(next).counters.Of(b.Counted) > b.Limit {
		return next, Exceeded
	}
	return next, Pass
}

// refund returns the word after n bytes, which fit their field, were taken back.
func (e *epoch) refund(word uint64, d Direction, n int) uint64 {
	c := e.read(word).counters
	counted := c.Download
	if d == Upload {
		counted = c.Upload
	}
	return word - min(uint64(n), counted)<<shift(d)
}

// notable reports whether a word is one at which there may be something to report.
func (e *epoch) notable(word uint64) bool {
	r := e.read(word)
	return e.budget.marked(r) || e.budget.depleted(r)
}

// depleted reports that nothing is left.
func (b *Budget) depleted(r reading) bool {
	return b.Limited && (r.latched || r.counters.Of(b.Counted) >= b.Limit)
}

// marked reports that the mark was reached.
func (b *Budget) marked(r reading) bool {
	return b.Mark != 0 && r.counters.Of(b.Counted) >= b.Mark
}
