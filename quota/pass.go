package quota

import (
	"math/bits"
	"slices"
	"time"
)

// Times that a ledger works with. What lies outside comes from a broken clock and would not survive JSON.
var (
	earliest = time.Unix(0, 0).UTC()
	latest   = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// maxPending bounds what a caller that never calls Advance makes a ledger keep. It is more than one period's thresholds,
// and a new period takes the place of what came before it.
const maxPending = 256

// sane brings a time into the range and the form that a ledger works with: UTC, whole microseconds, and no monotonic clock.
func sane(t time.Time) time.Time {
	t = t.Truncate(time.Microsecond).UTC()
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}

// pass lets time and counters pass.
func (l *Ledger) pass(now time.Time, c Counters) {
	before := l.plain()
	l.now = max(l.now, momentOf(sane(now)))
	moved := c.since(l.seen)
	l.seen = c

	if l.terms.cap.Period.Kind == Rolling {
		// Charged to the time when it was seen, which is no earlier than when it passed: so it leaves no earlier than it
		// may, and what is in the window is never less than what passed in it.
		w := l.window()
		w.charge(l.step().of(l.now.time()), moved, 0)
		w.expire(l.step(), l.now.time())
		l.keep(w, l.pending())
		l.used, l.extra = w.sum()
		l.settle(before)
		return
	}
	l.used = l.used.plus(moved)
	l.settle(before)
	if l.end != never && l.now >= l.end {
		before = l.plain()
		l.rollOver()
		l.settle(before)
	}
}

// rollOver begins the period that now lies in.
func (l *Ledger) rollOver() {
	now := l.now.time()
	event := Event{Kind: PeriodStarted, Time: now, Ended: l.usage()}
	ended, _, _ := l.terms.cal.bounds(l.start.time())
	number, _, _ := l.terms.cal.bounds(now)
	// No less than 1, whatever news of the zone's rules has come since the period's end was computed.
	event.Periods = max(1, number-ended)
	l.restart(now)
	l.percent = 0
	event.Usage = l.usage()

	pending := l.pending()
	if i := slices.IndexFunc(pending, func(e Event) bool { return e.Kind == PeriodStarted }); i >= 0 {
		event.Periods += pending[i].Periods
		l.keep(l.window(), nil)
	}
	l.tell(event)
}

// settle draws the conclusions from a change to what is used or to the limit; before is what plain was.
func (l *Ledger) settle(before Budget) {
	if l.cut && l.plain().Roomier(before) {
		l.cut = false
	}
	reached := l.reached()
	told := int(l.percent)
	for _, threshold := range l.terms.thresholds {
		if told < threshold && threshold <= reached {
			l.tell(Event{Kind: ThresholdReached, Time: l.now.time(), Percent: threshold, Usage: l.usage()})
		}
	}
	if told < 100 && reached == 100 {
		l.tell(Event{Kind: Depleted, Time: l.now.time(), Usage: l.usage()})
	}
	l.percent = int8(reached)
}

func (l *Ledger) tell(e Event) {
	pending := l.pending()
	if len(pending) == maxPending {
		pending = slices.Delete(pending, 0, 1)
	}
	l.keep(l.window(), append(pending, e))
}

// plain is the budget without a mark, as if the subject were not cut off.
func (l *Ledger) plain() Budget {
	b := Budget{Counted: l.terms.cap.Counted}
	if l.terms.cap.Bytes == 0 {
		return Budget{}
	}
	b.Limited, b.AtEnd = true, l.terms.cap.AtEnd
	counter, used, limit := l.seen.Of(b.Counted), l.used.Of(b.Counted), l.limit()
	if used > limit {
		b.Limit = subSat(counter, used-limit)
	} else {
		b.Limit = addSat(counter, limit-used)
	}
	return b
}

// limit is the cap with what was topped up; 0 when there is no cap.
func (l *Ledger) limit() uint64 {
	if l.terms.cap.Bytes == 0 {
		return 0
	}
	// A cap that was raised after a top-up may come to too much together.
	return min(addSat(uint64(l.terms.cap.Bytes), l.extra), uint64(MaxBytes))
}

// reached is how much of the limit is used, in whole percent, at most 100.
func (l *Ledger) reached() int {
	used, limit := l.used.Of(l.terms.cap.Counted), l.limit()
	switch {
	case limit == 0:
		return 0
	case l.cut || used >= limit:
		return 100
	}
	hi, lo := bits.Mul64(used, 100)
	percent, _ := bits.Div64(hi, lo, limit) // used < limit, so this is below 100 and does not overflow
	return int(percent)
}

// portion is the smallest amount that is at least percent of limit.
func portion(limit uint64, percent int) uint64 {
	hi, lo := bits.Mul64(limit, uint64(percent))
	amount, rest := bits.Div64(hi, lo, 100)
	if rest > 0 {
		amount++
	}
	return amount
}

// nextThreshold is the lowest threshold below 100 that was not reached; 0 for none.
func (l *Ledger) nextThreshold() int {
	if l.terms.cap.Bytes == 0 {
		return 0
	}
	for _, threshold := range l.terms.thresholds {
		if int(l.percent) < threshold && threshold < 100 {
			return threshold
		}
	}
	return 0
}

func (l *Ledger) step() step { return stepOf(l.terms.cap.Period.Window) }

// usage is the usage as of now.
func (l *Ledger) usage() Usage {
	u := Usage{
		// A counter that was given more than any link moves must not make an event that JSON cannot hold.
		Used:        min(Bytes(l.used.Of(l.terms.cap.Counted)), MaxBytes),
		Limit:       Bytes(l.limit()),
		PeriodStart: l.start.time(),
		PeriodEnd:   l.end.time(),
	}
	if l.terms.cap.Period.Kind == Rolling {
		u.PeriodStart = l.now.time().Add(-l.terms.cap.Period.Window)
	}
	u.Depleted = u.Limit != 0 && (l.cut || u.Used >= u.Limit)
	if !u.Depleted {
		u.Remaining = Bytes(subSat(uint64(u.Limit), uint64(u.Used)))
	}
	return u
}
