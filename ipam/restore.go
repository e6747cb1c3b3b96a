package ipam

import (
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"
)

// Restore replaces the pool's state by that of the snapshot. Quarantines end when they would have, but none lasts longer
// than this pool's own; time that passed since the snapshot counts. The pool may have prefixes that the snapshot does not,
// whose addresses are then free, and may exclude other addresses, as long as none of them was leased. The error matches
// [ErrSnapshotCorrupt] or [ErrSnapshotForeign], and the pool is as it was.
func (p *Pool) Restore(s Snapshot) error {
	now := p.now()
	p.mu.Lock()
	elapsed := p.clock.advance(now)
	p.mu.Unlock()

	books, err := p.decode(s, now, elapsed)
	if err != nil {
		return fmt.Errorf("ipam: restore: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.books = books
	return nil
}

func (p *Pool) decode(s Snapshot, now time.Time, elapsed time.Duration) ([]*book, error) {
	if s.IsZero() {
		return nil, corrupt("it is empty; take one with Pool.Snapshot")
	}
	body := s.data[len(snapshotMagic)+1 : len(s.data)-crc32.Size]
	r := &restorer{decoder: decoder{b: body}, pool: p, elapsed: elapsed}
	taken := time.Unix(r.signed("time"), int64(r.number("time", 1e9-1)))
	r.passed = max(0, now.Round(0).Sub(taken))
	prefixes := r.prefixes()
	books := make([]*book, len(p.layouts))
	for i, l := range p.layouts {
		books[i] = newBook(l)
		if windows, bound := windowsOf(l.family, prefixes); r.err == nil && len(windows) > 0 {
			r.windows, r.bound, r.book = windows, bound, books[i]
			r.read()
		}
	}
	if len(r.b) > 0 {
		r.fail("there are bytes after its end")
	}
	return books, r.err
}

// restorer rebuilds books from a snapshot, one after the other.
type restorer struct {
	decoder
	pool    *Pool
	elapsed time.Duration // the time now on the pool's clock
	passed  time.Duration // since the snapshot
	book    *book
	windows []window // as the snapshot has them
	bound   uint64
}

func (r *restorer) foreign(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrSnapshotForeign}, args...)...)
		r.b = nil
	}
}

func (r *restorer) prefixes() []netip.Prefix {
	var list []netip.Prefix
	seen := make(map[netip.Prefix]bool)
	for range r.number("count of prefixes", maxSlots) {
		addr := r.addr("prefix", r.octet("prefix"))
		p := netip.PrefixFrom(addr, r.octet("prefix"))
		switch at, ok := r.pool.places.Get(p); {
		case r.err != nil:
		case !p.IsValid() || p != p.Masked() || seen[p]:
			r.fail("bad prefix %s", p)
		case !ok || at.window.prefix != p:
			r.foreign("it has the prefix %s, which the pool does not have; add it to the pool", p)
		}
		if r.err != nil {
			return nil
		}
		seen[p] = true
		list = append(list, p)
	}
	return list
}

func (r *restorer) addr(what string, n int) netip.Addr {
	a, _ := netip.AddrFromSlice(r.take(what, n))
	return a
}

// read fills the book.
func (r *restorer) read() {
	// A lease where the pool has nothing to lease cannot be kept; but that such an address was leased once is of no account.
	r.into(true, func(s span) { r.book.leased.addRange(s.first, s.last) })
	r.into(false, func(s span) { r.book.later.addRange(s.first, s.last) })
	var last time.Duration
	for range r.number("count of batches", maxSlots) {
		until := r.until(&last)
		r.into(false, func(s span) {
			for slot := s.first; slot <= s.last; slot++ {
				r.book.quarantine.push(slot, until)
			}
		})
		if r.err != nil {
			return
		}
	}
	r.outlying()
}

// into reads a set and calls put with what of it is leasable. If strict the rest is an error.
func (r *restorer) into(strict bool, put func(span)) {
	r.set(r.bound, func(s span) {
		for r.err == nil && s.first <= s.last {
			s = r.translate(s, strict, put)
		}
	})
}

// translate calls put with the first slots of s, those in one window, as slots of the pool, whose prefixes may stand in
// another order. It returns the rest of s.
func (r *restorer) translate(s span, strict bool, put func(span)) span {
	w := windowOf(r.windows, s.first)
	if s.first >= w.base+w.size {
		r.fail("set goes beyond %s", w.prefix)
		return s
	}
	at, _ := r.pool.places.Get(w.prefix)
	last := min(s.last, w.base+w.size-1)
	offset := at.window.base - w.base // wraps round when negative, and back in the sums
	r.clip(span{s.first + offset, last + offset}, strict, put)
	return span{last + 1, s.last}
}

// clip calls put with the leasable parts of s, a span of the pool's slots.
func (r *restorer) clip(s span, strict bool, put func(span)) {
	leasable, next := r.book.layout.leasable, s.first
	for i := r.book.layout.spanAt(s.first); i < len(leasable) && leasable[i].first <= s.last; i++ {
		part := span{max(s.first, leasable[i].first), min(s.last, leasable[i].last)}
		if strict && part.first > next {
			break
		}
		if !r.claim(part) {
			return
		}
		put(part)
		next = part.last + 1
	}
	if strict && next <= s.last {
		r.reserved(r.book.layout.addr(next))
	}
}

// claim takes a leasable span out of the free slots, where all that is not read yet is.
func (r *restorer) claim(s span) bool {
	if r.err == nil && r.book.ready.removeRange(s.first, s.last) != s.len() {
		r.fail("an address from %s to %s appears twice", r.book.layout.addr(s.first), r.book.layout.addr(s.last))
	}
	return r.err == nil
}

func (r *restorer) reserved(a netip.Addr) {
	at, _ := r.pool.places.Lookup(a)
	r.foreign("it has a lease of %s, which the pool reserves: %s", a, r.book.layout.whyReserved(at.window, a))
}

// until reads when a quarantine ends. Quarantines come in the order of their end.
func (r *restorer) until(last *time.Duration) time.Duration {
	remaining := time.Duration(r.number("quarantine", uint64(2*MaxQuarantine)))
	if remaining < *last {
		r.fail("quarantines are out of order")
	}
	*last = remaining
	return r.elapsed + max(0, min(remaining-r.passed, r.pool.longestRest()))
}

func (r *restorer) outlying() {
	size := r.windows[0].prefix.Addr().BitLen() / 8
	for range r.number("count of outlying leases", MaxOutlying) {
		a := r.addr("outlying lease", size)
		if r.outlier(a) && r.book.layout.excluded.Contains(a) {
			r.reserved(a)
		}
		if r.err != nil {
			return
		}
		r.book.outlying.until[a] = leasedOut
	}
	var last time.Duration
	for range r.number("count of outlying quarantines", MaxOutlying-uint64(len(r.book.outlying.until))) {
		until := r.until(&last)
		a := r.addr("outlying quarantine", size)
		if !r.outlier(a) {
			return
		}
		if !r.book.layout.excluded.Contains(a) {
			r.book.outlying.rest(a, until)
		}
	}
}

// outlier checks that an address is one that the book keeps as outlying and does not have yet.
func (r *restorer) outlier(a netip.Addr) bool {
	if r.err != nil {
		return false
	}
	at, err := r.pool.locate("restore", a)
	if err != nil || r.pool.layouts[at.book] != r.book.layout {
		r.fail("outlying address %s is in none of its prefixes", a)
		return false
	}
	_, held := r.book.outlying.until[a]
	if _, inWindow := at.window.slot(a); held || inWindow {
		r.fail("outlying address %s appears twice or is not outlying", a)
	}
	return r.err == nil
}
