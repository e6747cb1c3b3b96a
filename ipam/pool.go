package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gaissmai/bart"
)

// Pool leases addresses. Make one with [New]. Its methods may be called from any goroutine.
type Pool struct {
	prefixes   []netip.Prefix
	places     bart.Table[place]
	layouts    []*layout // of the families that the pool has, IPv4 first
	quarantine time.Duration
	now        func() time.Time

	mu    sync.Mutex
	clock clock
	books []*book // one for each of layouts
}

// place is where the addresses of a prefix are kept.
type place struct {
	book   int // index in Pool.books and Pool.layouts
	window *window
}

// New returns a pool with every address free. It copies what it keeps of cfg. Every problem of cfg is in the error, each a
// [ConfigError].
func New(cfg Config) (*Pool, error) {
	cfg = cfg.withDefaults()
	layouts, err := cfg.layouts()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		prefixes: cfg.Prefixes, layouts: layouts, quarantine: cfg.Quarantine, now: cfg.Now, clock: clock{start: cfg.Now()},
	}
	for i, l := range layouts {
		for j := range l.windows {
			p.places.Insert(l.windows[j].prefix, place{book: i, window: &l.windows[j]})
		}
		p.books = append(p.books, newBook(l))
	}
	return p, nil
}

// Quarantine returns how long a released address rests; 0: not at all.
func (p *Pool) Quarantine() time.Duration { return max(p.quarantine, 0) }

// Families returns the families that the pool has, IPv4 first.
func (p *Pool) Families() []Family {
	list := make([]Family, 0, len(p.layouts))
	for _, l := range p.layouts {
		list = append(list, l.family)
	}
	return list
}

// Prefixes returns the pool's prefixes in the order of its configuration.
func (p *Pool) Prefixes() []netip.Prefix { return slices.Clone(p.prefixes) }

// Gateway returns the node's own tunnel address: the first host of the first prefix of the family. It is never leased.
// The result is false when the pool has no such prefix.
func (p *Pool) Gateway(f Family) (netip.Addr, bool) {
	if i, ok := p.index(f); ok {
		return p.layouts[i].gateway, true
	}
	return netip.Addr{}, false
}

// index returns where in layouts and books the family is.
func (p *Pool) index(f Family) (int, bool) {
	i := slices.IndexFunc(p.layouts, func(l *layout) bool { return l.family == f })
	return i, i >= 0
}

// locate returns where a is kept.
func (p *Pool) locate(op string, a netip.Addr) (place, error) {
	err := ErrNotInPool
	switch {
	case !a.IsValid():
		err = fmt.Errorf("%w: it is the zero address", err)
	case a.Is4In6():
		err = fmt.Errorf("%w: it is IPv4-mapped; unmap it first", err)
	case a.Zone() != "":
		err = fmt.Errorf("%w: it has a zone", err)
	default:
		if at, ok := p.places.Lookup(a); ok {
			return at, nil
		}
	}
	return place{}, &AddrError{Op: op, Addr: a, Err: err}
}

// enter locks the pool, ends the quarantines of a book that are over and returns it, with the time on the pool's clock and
// on the wall. The caller unlocks the pool.
func (p *Pool) enter(book int) (b *book, elapsed time.Duration, now time.Time) {
	now = p.now()
	p.mu.Lock()
	b, elapsed = p.books[book], p.clock.advance(now)
	b.expire(elapsed)
	return b, elapsed, now
}

// grain is what the ends of quarantines are rounded up to a multiple of.
func (p *Pool) grain() time.Duration { return max(1, p.quarantine/grains) }

// longestRest is how long a quarantine may last.
func (p *Pool) longestRest() time.Duration {
	if p.quarantine == NoQuarantine {
		return 0
	}
	return p.quarantine + p.grain()
}
