package quota

import (
	"sync/atomic"
)

// Verdict is what a [Meter] says of a packet.
type Verdict int

const (
	// Pass lets the packet pass; it is counted.
	Pass Verdict = iota
	// Exceeded lets the packet pass, counted, beyond the limit of a budget with Throttle: it is to be slow.
	Exceeded
	// Refuse drops the packet; it is not counted.
	Refuse
)

var verdictNames = names[Verdict]{what: "verdict", list: []string{"pass", "exceeded", "refuse"}}

// String is "pass", "exceeded" or "refuse".
func (v Verdict) String() string { return verdictNames.text(v) }

// Crossing is what a [Meter] reports: its counter reached the mark or the limit of its budget.
type Crossing struct {
	// Depleted is true for the limit and false for the mark.
	Depleted bool
	// Counter is the value of the counted counter right after the packet. A depletion below the limit is that of a
	// subject that was cut off because a packet was larger than what was left.
	Counter uint64
}

// MaxPacket is the largest number of bytes that one [Meter.Take] or [Meter.Refund] takes.
const MaxPacket = 1 << 20

// Meter counts the packets of one subject and holds them to a [Budget], exactly: whatever the number of goroutines, the
// bytes of the packets that passed are the bytes counted, and with [Block] the counter never passes the limit. It takes no
// lock and allocates nothing for a packet. Make one with [NewMeter]; all methods are safe for concurrent use.
//
// With [Block], a packet that is larger than what is left is refused, and from then on every packet is, even one that
// would fit: a subject that is cut off is cut off, and does not live on with its small packets. nftables does the same. A
// new budget with more room ends that; the same budget set again does not. [Ledger.Deplete] takes note of it.
//
// A depleted meter with Block refuses both directions, also when only one is counted: a subject that has used up its cap
// moves nothing.
type Meter struct {
	epoch  atomic.Pointer[epoch]
	notify func(Crossing)
}

// NewMeter returns a meter that counts on from start and enforces b. If notify is not nil, it is called for each mark and
// each limit that the counter reaches, once, on the goroutine whose call brought it there, before that call returns and
// with no lock held: it may call the meter. A budget that is depleted when it is set, here or with [Meter.SetBudget], is
// reported at once. notify must not wait for another packet.
func NewMeter(start Counters, b Budget, notify func(Crossing)) *Meter {
	m := &Meter{notify: notify}
	e, first := newEpoch(start, b, false)
	m.epoch.Store(e)
	m.report(Budget{}, reading{}, b, first)
	return m
}

// Take asks whether a packet of n bytes may pass, and counts it if so. Any direction but Upload is Download. A packet of
// less than 0 or more than [MaxPacket] bytes is refused, and changes nothing.
func (m *Meter) Take(d Direction, n int) Verdict {
	if n < 0 || n > MaxPacket {
		return Refuse
	}
	for {
		e := m.epoch.Load()
		old := e.word.Load()
		if old&sealed != 0 || !fits(old, d, n) {
			m.renew(e, old, e.budget)
			continue
		}
		next, verdict := e.take(old, d, n)
		if next == old {
			return verdict
		}
		if e.word.CompareAndSwap(old, next) {
			if e.notable(next) {
				m.report(e.budget, e.read(old), e.budget, e.read(next))
			}
			return verdict
		}
	}
}

// TakeBoth asks whether a packet of n bytes may pass a subject's meter and one that it shares with others, and counts it in both or in
// neither. The verdict is the stricter one of the two. Who reads the counters never sees a packet that one of the meters refuses, unless
// the subject's own two directions race for the last bytes of its budget, or that changes at the same moment: then the shared meter
// has the packet for an instant, see [Meter.Refund].
func TakeBoth(own, shared *Meter, d Direction, n int) Verdict {
	for own.refuses(d, n) {
		if own.Take(d, n) == Refuse { // and is cut off, if n is too many
			return Refuse
		}
		own.Refund(d, n) // it has another budget by now
	}
	theirs := shared.Take(d, n)
	if theirs == Refuse {
		return Refuse
	}
	mine := own.Take(d, n)
	if mine == Refuse {
		shared.Refund(d, n)
	}
	return max(mine, theirs)
}

// refuses is whether Take would refuse a packet at this moment. It changes nothing.
func (m *Meter) refuses(d Direction, n int) bool {
	if n < 0 || n > MaxPacket {
		return true
	}
	e := m.epoch.Load()
	_, verdict := e.take(e.word.Load(), d, n)
	return verdict == Refuse
}

// Refund takes back a Take that did not refuse, of a packet that did not pass after all because a second meter refused it; [TakeBoth]
// rarely needs it. What Take reported stays reported; if the counter falls below a mark or the limit, reaching it again is reported again.
// A subject that was cut off meanwhile by a packet too large stays cut off. Refunding more than was counted leaves 0.
func (m *Meter) Refund(d Direction, n int) {
	if n <= 0 || n > MaxPacket {
		return
	}
	for {
		e := m.epoch.Load()
		old := e.word.Load()
		if old&sealed != 0 || !fits(old, d, -n) {
			m.renew(e, old, e.budget)
			continue
		}
		if e.word.CompareAndSwap(old, e.refund(old, d, n)) {
			return
		}
	}
}

// SetBudget puts b in force for the next packet; counters go on. It may be called with packets under way: each is judged
// by the one budget or the other, and counted once. Setting the budget that is in force changes nothing.
func (m *Meter) SetBudget(b Budget) {
	for {
		e := m.epoch.Load()
		if e.budget == b || m.renew(e, e.word.Load(), b) {
			return
		}
	}
}

// Counters is what was counted, both directions at one moment.
func (m *Meter) Counters() Counters {
	e := m.epoch.Load()
	return e.read(e.word.Load()).counters
}

// Depleted reports that the budget is used up: the counter is at its limit or beyond, or the subject was cut off because a
// packet was larger than what was left.
func (m *Meter) Depleted() bool {
	e := m.epoch.Load()
	return e.budget.depleted(e.read(e.word.Load()))
}

// Blocked reports that Take refuses every packet: the budget is depleted, and is one with Block.
func (m *Meter) Blocked() bool {
	e := m.epoch.Load()
	return e.budget.AtEnd == Block && e.budget.depleted(e.read(e.word.Load()))
}

// renew replaces epoch e, with old as its word, by one with budget b, and reports what that budget finds. It returns
// false when another goroutine was faster; then nothing was done that the other would not have done.
func (m *Meter) renew(e *epoch, old uint64, b Budget) bool {
	if old&sealed == 0 && !e.word.CompareAndSwap(old, old|sealed) {
		return false
	}
	r := e.read(old)
	next, first := newEpoch(r.counters, b, r.latched && !b.Roomier(e.budget))
	if !m.epoch.CompareAndSwap(e, next) {
		return false
	}
	if b != e.budget {
		m.report(e.budget, r, b, first)
	}
	return true
}

// report tells of the mark and the limit that after has reached under budget b, and before had not under budget was.
func (m *Meter) report(was Budget, before reading, b Budget, after reading) {
	if m.notify == nil {
		return
	}
	counter := after.counters.Of(b.Counted)
	if b.marked(after) && !(was.Mark == b.Mark && was.Counted == b.Counted && was.marked(before)) {
		m.notify(Crossing{Counter: counter})
	}
	if b.depleted(after) && (!was.depleted(before) || b.Counted != was.Counted || b.Limit > was.Limit) {
		m.notify(Crossing{Depleted: true, Counter: counter})
	}
}
