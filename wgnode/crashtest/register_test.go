package crashtest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/ipam"
)

// register is what all shards share: the addresses that rest, and the sequence numbers that were given.
type register struct {
	quarantine time.Duration
	mu         sync.Mutex
	// resting says until when an address must not be leased; sequences who was given one. Both are guarded by mu.
	resting   map[netip.Addr]time.Time
	sequences map[uint64]string
}

// release notes that a peer's addresses are released, not before a time.
func (r *register) release(addrs []netip.Addr, notBefore time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, addr := range addrs {
		r.resting[addr] = notBefore.Add(r.quarantine)
	}
}

// keep notes that they were not.
func (r *register) keep(addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, addr := range addrs {
		delete(r.resting, addr)
	}
}

// restingAt counts the addresses of a family that may be in quarantine at a time.
func (r *register) restingAt(f ipam.Family, now time.Time) (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, until := range r.resting {
		if addr.Is4() == (f == ipam.IPv4) && until.After(now) {
			n++
		}
	}
	return n
}

// lease checks addresses and a sequence that a node has given to somebody new, by a time.
func (r *register) lease(to string, addrs []netip.Addr, sequence uint64, by time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	if other, ok := r.sequences[sequence]; ok {
		errs = append(errs, fmt.Errorf("%s has sequence %d, which %s was given before", to, sequence, other))
	}
	r.sequences[sequence] = to
	for _, addr := range addrs {
		if until := r.resting[addr]; until.After(by) {
			errs = append(errs, fmt.Errorf("%s has %s %v before the end of its quarantine", to, addr, until.Sub(by)))
		}
		if !slices.ContainsFunc(pool(), func(p netip.Prefix) bool { return p.Contains(addr) }) {
			errs = append(errs, fmt.Errorf("%s has %s, which is not the pool's", to, addr))
		}
	}
	return errors.Join(errs...)
}
