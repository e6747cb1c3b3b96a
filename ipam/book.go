package ipam

import (
	"fmt"
	"net/netip"
	"time"
)

// book is what changes about the addresses of one family. Each leasable slot is in exactly one place: leased, ready, later
// or the quarantine.
//
//	        take                 give back                 end of rest
//	ready --------> leased -----------------> quarantine --------------> later
//	  ^                                                                    |
//	  +------------------ a new round, when ready is empty ---------------+
type book struct {
	layout *layout
	leased *slotSet
	// ready are free and have not been leased in this round; later are free, and have.
	ready, later *slotSet
	quarantine   quarantine
	outlying     outlying
}

// newBook returns a book in which every address is free.
func newBook(l *layout) *book {
	b := &book{
		layout: l, leased: newSlotSet(l.bound), ready: newSlotSet(l.bound), later: newSlotSet(l.bound),
		outlying: newOutlying(),
	}
	for _, s := range l.leasable {
		b.ready.addRange(s.first, s.last)
	}
	return b
}

// expire ends the quarantines that are over.
func (b *book) expire(at time.Duration) {
	b.quarantine.expire(at, func(slot uint64) { b.later.add(slot) })
	b.outlying.expire(at)
}

// take leases the lowest slot whose turn it is.
func (b *book) take() (uint64, bool) {
	if b.ready.n == 0 {
		b.ready, b.later = b.later, b.ready
	}
	slot, ok := b.ready.next(0)
	if ok {
		b.ready.remove(slot)
		b.leased.add(slot)
	}
	return slot, ok
}

// takeNear leases the free slot that is slot or the next above it, from the bottom again after the top.
func (b *book) takeNear(slot uint64) (uint64, bool) {
	found, ok := b.nextFree(slot)
	if !ok {
		found, ok = b.nextFree(0)
	}
	if ok {
		b.takeSlot(found)
	}
	return found, ok
}

func (b *book) nextFree(slot uint64) (uint64, bool) {
	r, inReady := b.ready.next(slot)
	l, inLater := b.later.next(slot)
	switch {
	case !inReady:
		return l, inLater
	case !inLater:
		return r, true
	default:
		return min(r, l), true
	}
}

// takeSlot leases the slot and reports whether it was free.
func (b *book) takeSlot(slot uint64) bool {
	if !b.ready.remove(slot) && !b.later.remove(slot) {
		return false
	}
	return b.leased.add(slot)
}

// takeAddr leases an address of window w. If it is in quarantine, until is when that is over at the latest.
func (b *book) takeAddr(w *window, a netip.Addr) (until time.Duration, err error) {
	slot, ok := w.slot(a)
	if !ok {
		return b.takeOutlying(w, a)
	}
	switch {
	case b.takeSlot(slot):
		return 0, nil
	case b.leased.has(slot):
		return 0, ErrTaken
	case !b.layout.isLeasable(slot):
		return 0, fmt.Errorf("%w: %s", ErrReserved, b.layout.whyReserved(w, a))
	default:
		return b.quarantine.last(), ErrQuarantined
	}
}

// takeOutlying is takeAddr for an address beyond its window.
func (b *book) takeOutlying(w *window, a netip.Addr) (until time.Duration, err error) {
	until, held := b.outlying.until[a]
	switch {
	case held && until == leasedOut:
		return 0, ErrTaken
	case held:
		return until, ErrQuarantined
	case b.layout.excluded.Contains(a):
		return 0, fmt.Errorf("%w: %s", ErrReserved, b.layout.whyReserved(w, a))
	case len(b.outlying.until) >= MaxOutlying:
		return 0, fmt.Errorf("%w among those above %s, of which a pool holds %d at most; choose one up to there",
			ErrExhausted, w.addr(w.base+w.size-1), MaxOutlying)
	}
	b.outlying.until[a] = leasedOut
	return 0, nil
}

// has reports whether an address of window w is leased.
func (b *book) has(w *window, a netip.Addr) bool {
	if slot, ok := w.slot(a); ok {
		return b.leased.has(slot)
	}
	until, held := b.outlying.until[a]
	return held && until == leasedOut
}

// giveBack ends the lease of an address of window w and reports whether there was one.
func (b *book) giveBack(w *window, a netip.Addr, r rest) bool {
	if !b.has(w, a) {
		return false
	}
	slot, ok := w.slot(a)
	switch {
	case !ok && r.kind == restUntil:
		b.outlying.rest(a, r.until)
		return true
	case !ok:
		delete(b.outlying.until, a)
		return true
	}
	b.leased.remove(slot)
	switch r.kind {
	case restNever:
		b.ready.add(slot)
	case restOver:
		b.later.add(slot)
	case restUntil:
		b.quarantine.push(slot, r.until)
	}
	return true
}

// rest is what follows a lease.
type rest struct {
	kind  restKind
	until time.Duration // for restUntil
}

type restKind int

const (
	restNever restKind = iota // the address was not used: it is as if it had not been leased
	restOver                  // it was used, but there is no quarantine
	restUntil
)
