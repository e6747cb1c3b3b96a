package ipam

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Lease takes the free address whose turn it is; see the package comment. The error matches [ErrExhausted] or [ErrFamily].
func (p *Pool) Lease(f Family) (netip.Addr, error) {
	return p.lease(f, (*book).take)
}

// LeaseFor takes the address that the key stands for, or if it is not free the next free one above it, going round. An
// address in quarantine is not free, whoever had it. The choice depends on nothing but the key, the pool's prefixes and
// exclusions and what is free: of the n addresses that [Pool.Lease] has to give, in order, the key stands for the one with
// index h*n/2^64, rounded down, where h is the first 8 bytes of the key's SHA-256 as a big-endian number. The error matches
// [ErrExhausted], [ErrFamily] or [ErrEmptyKey].
func (p *Pool) LeaseFor(f Family, key []byte) (netip.Addr, error) {
	if len(key) == 0 {
		return netip.Addr{}, fmt.Errorf("ipam: lease for a key: %w; give one, such as the peer's public key", ErrEmptyKey)
	}
	sum := sha256.Sum256(key)
	hash := binary.BigEndian.Uint64(sum[:])
	return p.lease(f, func(b *book) (uint64, bool) { return b.takeNear(b.layout.keySlot(hash)) })
}

// lease takes a free address that take chooses.
func (p *Pool) lease(f Family, take func(*book) (uint64, bool)) (netip.Addr, error) {
	i, ok := p.index(f)
	if !ok {
		return netip.Addr{}, fmt.Errorf("ipam: lease (%s): %w", f, ErrFamily)
	}
	b, elapsed, now := p.enter(i)
	defer p.mu.Unlock()
	slot, ok := take(b)
	if ok {
		return b.layout.addr(slot), nil
	}
	err := &ExhaustedError{Family: f, Capacity: b.layout.capacity, Quarantined: b.quarantine.slots.n}
	if err.Quarantined > 0 {
		err.Until = wall(now, b.quarantine.first()-elapsed)
	}
	return netip.Addr{}, err
}

// LeaseAddr takes the address a, which may be anywhere in the pool's prefixes. The error matches [ErrNotInPool],
// [ErrReserved], [ErrTaken] or [ErrQuarantined], or for an address beyond the window of its prefix [ErrExhausted] when the
// pool holds [MaxOutlying] of these.
func (p *Pool) LeaseAddr(a netip.Addr) error {
	at, err := p.locate("lease", a)
	if err != nil {
		return err
	}
	b, elapsed, now := p.enter(at.book)
	defer p.mu.Unlock()
	until, err := b.takeAddr(at.window, a)
	if err == nil {
		return nil
	}
	fail := &AddrError{Op: "lease", Addr: a, Err: err}
	if errors.Is(err, ErrQuarantined) {
		fail.Until = wall(now, until-elapsed)
	}
	return fail
}

// Release gives back an address, which then rests in quarantine. The error matches [ErrNotLeased], also for an address
// that rests already, or [ErrNotInPool].
func (p *Pool) Release(a netip.Addr) error {
	return p.giveBack("release", a, func(elapsed time.Duration, _ time.Time) rest { return p.restOf(elapsed, p.quarantine) })
}

// ReleaseUntil is Release for an address whose quarantine began before, as a process finds it that goes on where another
// ended: it rests until then by the wall clock, but at least as long as those released before it, and not longer than if it
// were released now. A time that is past leaves it no quarantine.
func (p *Pool) ReleaseUntil(a netip.Addr, until time.Time) error {
	return p.giveBack("release", a, func(elapsed time.Duration, now time.Time) rest {
		return p.restOf(elapsed, min(until.Sub(now.Round(0)), p.quarantine))
	})
}

// restOf is a quarantine of that length from now.
func (p *Pool) restOf(elapsed, length time.Duration) rest {
	if length <= 0 { // NoQuarantine among them
		return rest{kind: restOver}
	}
	return rest{kind: restUntil, until: roundUp(elapsed+length, p.grain())}
}

// Discard gives back an address that its holder never used, as when adding a peer fails half way: it is free at once, as
// if it had not been leased. The errors are those of [Pool.Release].
func (p *Pool) Discard(a netip.Addr) error {
	return p.giveBack("discard", a, func(time.Duration, time.Time) rest { return rest{kind: restNever} })
}

// giveBack ends a lease; after says what follows it.
func (p *Pool) giveBack(op string, a netip.Addr, after func(elapsed time.Duration, now time.Time) rest) error {
	at, err := p.locate(op, a)
	if err != nil {
		return err
	}
	b, elapsed, now := p.enter(at.book)
	defer p.mu.Unlock()
	if !b.giveBack(at.window, a, after(elapsed, now)) {
		return &AddrError{Op: op, Addr: a, Err: ErrNotLeased}
	}
	return nil
}

// Leased reports whether an address is leased.
func (p *Pool) Leased(a netip.Addr) bool {
	at, err := p.locate("look up", a)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.books[at.book].has(at.window, a)
}
