package ipam

import (
	"iter"
	"net/netip"
)

// Stats counts the addresses of one family.
type Stats struct {
	Family Family
	// Capacity is how many addresses Lease has to give: Leased + Quarantined + Free.
	Capacity uint64
	// Leased, Quarantined and Free count addresses in the windows of the prefixes.
	Leased, Quarantined, Free uint64
	// Outlying and OutlyingQuarantined count addresses beyond the windows, leased by LeaseAddr and in quarantine.
	Outlying, OutlyingQuarantined uint64
}

// Stats returns the counts of each family, in the order of [Pool.Families].
func (p *Pool) Stats() []Stats {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := p.clock.advance(now)
	list := make([]Stats, 0, len(p.books))
	for _, b := range p.books {
		b.expire(elapsed)
		list = append(list, Stats{
			Family:              b.layout.family,
			Capacity:            b.layout.capacity,
			Leased:              b.leased.n,
			Quarantined:         b.quarantine.slots.n,
			Free:                b.ready.n + b.later.n,
			Outlying:            b.outlying.leased(),
			OutlyingQuarantined: b.outlying.queue.n,
		})
	}
	return list
}

// Leases returns the leased addresses: by family, those in windows in the order of the prefixes and then by address, then
// those beyond the windows by address. The loop may call the pool. What is leased or released meanwhile may or may not be
// seen.
func (p *Pool) Leases() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for i, l := range p.layouts {
			for slot, ok := p.nextLeased(i, 0); ok; slot, ok = p.nextLeased(i, slot+1) {
				if !yield(l.addr(slot)) {
					return
				}
			}
			for _, a := range p.outlyingLeases(i) {
				if !yield(a) {
					return
				}
			}
		}
	}
}

func (p *Pool) nextLeased(book int, slot uint64) (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.books[book].leased.next(slot)
}

func (p *Pool) outlyingLeases(book int) []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.books[book].outlying.leases()
}
