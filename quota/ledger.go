package quota

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// terms are a cap with what follows from it.
type terms struct {
	cap Cap
	cal calendar
	// thresholds are those in effect, ascending.
	thresholds []int
}

// ErrNoCap is returned by [Ledger.TopUp] when there is no cap to add to.
var ErrNoCap = errors.New("quota: there is no data cap to top up: set one first")

// Ledger is the account of one subject's cap: what was used in which period, and what follows. It has no clock, reads no
// counters and calls nobody: each method that takes the time and the counters first lets both pass, as Advance does. What
// that finds is kept for the next Advance to return.
//
// Bytes belong to the period that ran, in the ledger, when they passed: a period ends when a call says that its time is
// over, not before, since until then its budget was the one in force. Call Advance at [Ledger.Next] to have periods end
// on time.
//
// Counters must be given in the order in which they were read. One that is lower than the last (somebody flushed it, or
// restored an old value) has moved nothing: what it had counted stays used, and it counts on from where it is now. So no
// byte is counted twice; what passed between the last reading and the flush is lost.
//
// Times count to the microsecond. A clock that goes backwards stands still for the ledger until it has caught up; no period
// is reopened. Only Reset, and a SetCap that begins a new period, follow the clock back: that is how to mend the ledger of
// a machine that was in the wrong year.
//
// Methods that change the ledger must not run beside others; Budget, Next, Cap, Usage, Clone and MarshalJSON may run beside
// each other.
type Ledger struct {
	// terms are what the cap comes to; they are never changed, and others may share them.
	terms *terms

	// now is the latest time that was seen, and never goes back but in restart.
	now moment
	// seen is what the counters were last.
	seen Counters
	// used and extra (topped up) are of the period that runs; for Rolling, the sums over window.
	used  Counters
	extra uint64
	// start and end are the bounds of a calendar period, start <= now < end. For None there is only start; for Rolling
	// neither.
	start, end moment

	// percent is what part of the limit was reached and told.
	percent int8
	// cut: the executor has cut the subject off with less left than a packet. It lasts until the budget has more room.
	cut bool
	// rare is what most ledgers have nothing of; nil: neither has this one. Nobody shares it.
	rare *rare
}

// rare is the part of a ledger that is for a Rolling period, and for the time between an event and the next Advance.
type rare struct {
	window window
	// pending is what happened and no Advance has returned.
	pending []Event
}

func (l *Ledger) window() window {
	if l.rare == nil {
		return nil
	}
	return l.rare.window
}

func (l *Ledger) pending() []Event {
	if l.rare == nil {
		return nil
	}
	return l.rare.pending
}

// keep replaces both of what is rare; what w and pending point to is the ledger's from then on.
func (l *Ledger) keep(w window, pending []Event) {
	switch {
	case len(w) == 0 && len(pending) == 0:
		l.rare = nil
	case l.rare == nil:
		l.rare = &rare{w, pending}
	default:
		*l.rare = rare{w, pending}
	}
}

// NewLedger opens a ledger at a time when the counters are c, with nothing used in the period that runs. Errors are those
// of [Cap.Validate].
func NewLedger(limit Cap, now time.Time, c Counters) (*Ledger, error) {
	cal, err := limit.check()
	if err != nil {
		return nil, fmt.Errorf("quota: open ledger: %w", err)
	}
	l := &Ledger{seen: c}
	l.adopt(limit, cal)
	l.restart(sane(now))
	return l, nil
}

// adopt makes limit, which was checked, the cap, and changes nothing else.
func (l *Ledger) adopt(limit Cap, cal calendar) {
	l.terms = &terms{cap: limit.Clone(), cal: cal, thresholds: limit.effectiveThresholds()}
}

// restart begins a new period at now.
func (l *Ledger) restart(now time.Time) {
	l.now = momentOf(now)
	l.used, l.extra = Counters{}, 0
	l.keep(nil, l.pending())
	l.start, l.end = never, never
	switch l.terms.cap.Period.Kind {
	case Rolling:
	case None:
		l.start = l.now
	default:
		_, start, end := l.terms.cal.bounds(now)
		l.start, l.end = momentOf(start), momentOf(end)
	}
}

// Advance lets time and counters pass, and returns what happened: thresholds reached and the cap used up, each once until
// usage has fallen below it again, and each end of a period, once. What passed since the last call belongs to the period
// that ran then. When more than one period has gone by, that is one event, and the periods between were empty. Calling it
// again with the same arguments returns nothing.
//
// With [Rolling], each call also lets go what has left the window, so that a threshold may be reached again.
func (l *Ledger) Advance(now time.Time, c Counters) []Event {
	l.pass(now, c)
	events := l.pending()
	l.keep(l.window(), nil)
	return events
}

// Budget is what an executor is to enforce as of the last call that let time pass. Its Mark is the next threshold below
// 100; the limit needs no mark. It changes with periods, caps, top-ups and thresholds, not with traffic between them, but
// for [Rolling], where each step of the window makes room.
func (l *Ledger) Budget() Budget {
	b := l.plain()
	counter := l.seen.Of(b.Counted)
	if l.cut {
		b.Limit = min(b.Limit, counter)
	}
	if next := l.nextThreshold(); next != 0 {
		b.Mark = addSat(counter, portion(l.limit(), next)-l.used.Of(b.Counted))
	}
	return b
}

// Next is when Advance must be called for time's sake: at the end of a calendar period, and for [Rolling] 60 times per
// window. Zero means never.
func (l *Ledger) Next() time.Time {
	if l.terms.cap.Period.Kind == Rolling {
		return l.step().after(l.now.time())
	}
	return l.end.time()
}

// Now is the latest time that the ledger was told of, to the microsecond.
func (l *Ledger) Now() time.Time { return l.now.time() }

// Cap is the cap in force.
func (l *Ledger) Cap() Cap { return l.terms.cap.Clone() }

// Clone returns a ledger that is equal and shares nothing that changes.
func (l *Ledger) Clone() *Ledger {
	c := *l
	c.rare = nil
	c.keep(slices.Clone(l.window()), slices.Clone(l.pending()))
	return &c
}

// Usage is what Advance with the same arguments would leave; it changes nothing.
func (l *Ledger) Usage(now time.Time, c Counters) Usage {
	copied := *l
	copied.rare = nil
	copied.keep(slices.Clone(l.window()), nil)
	copied.pass(now, c)
	return copied.usage()
}

// SetCap replaces the cap. When the period is the same ([Period.Equal]), what was used and topped up in the period that
// runs stays, measured against the new cap; if it counts other directions, what passed in those counts, because a ledger
// keeps both. When the period differs, or when there was neither a cap nor a period before, a new period begins with
// nothing used and nothing topped up; that is no event. Thresholds that a lower cap makes reached are events of the next
// Advance; those that a higher one takes back will be events again. Errors are those of [Cap.Validate]; then nothing
// changes.
func (l *Ledger) SetCap(limit Cap, now time.Time, c Counters) error {
	cal, err := limit.check()
	if err != nil {
		return fmt.Errorf("quota: set data cap: %w", err)
	}
	l.pass(now, c)
	before := l.plain()
	fresh := !limit.Period.Equal(l.terms.cap.Period) || l.terms.cap.Bytes == 0 && l.terms.cap.Period.Kind == None
	l.adopt(limit, cal)
	if fresh {
		l.restart(sane(now))
	}
	l.settle(before)
	return nil
}

// TopUp adds to the limit for the period that runs; with [None] for good, with [Rolling] for one window from now. Errors:
// [ErrNoCap], and one that matches [ErrBytesRange] when the limit would be above [MaxBytes]; then the limit stays.
func (l *Ledger) TopUp(more Bytes, now time.Time, c Counters) error {
	l.pass(now, c)
	if l.terms.cap.Bytes == 0 {
		return ErrNoCap
	}
	if limit := Bytes(l.limit()); more > MaxBytes-limit {
		return fmt.Errorf("%w: topping up %v by %v comes to more than %v: add less", ErrBytesRange, limit, more, MaxBytes)
	}
	before := l.plain()
	l.addExtra(uint64(more))
	l.settle(before)
	return nil
}

// Reset forgets what was used in the period that runs. What was topped up, the counters and the end of the period stay;
// but a period that, after the clock went backwards, has not begun yet gives way to the one that has.
func (l *Ledger) Reset(now time.Time, c Counters) {
	l.pass(now, c)
	before, extra := l.plain(), l.extra
	if now = sane(now); now.Before(l.now.time()) {
		l.restart(now)
		l.addExtra(extra)
	} else {
		l.used = Counters{}
		l.keep(l.window().withoutUse(), l.pending())
	}
	l.settle(before)
}

// addExtra tops up the period that runs.
func (l *Ledger) addExtra(more uint64) {
	l.extra += more
	if l.terms.cap.Period.Kind == Rolling {
		w := l.window()
		w.charge(l.step().of(l.now.time()), Counters{}, more)
		l.keep(w, l.pending())
	}
}

// Deplete notes that an executor with budget enforced has cut the subject off: it refused a packet that was larger than
// what was left, and refuses all since (see [Meter]). The ledger then counts as depleted, though Used is below Limit,
// until the budget has more room. It is of no effect if the ledger's budget has more room than enforced had: the executor
// is about to learn of that.
func (l *Ledger) Deplete(now time.Time, c Counters, enforced Budget) {
	l.pass(now, c)
	b := l.plain()
	if !enforced.Limited || enforced.AtEnd != Block || b.Roomier(enforced) {
		return
	}
	l.cut = true
	l.settle(b)
}
