package crashtest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
)

// register is what all shards share: the addresses that rest, and the sequence numbers that were given.
type register struct {
	quarantine time.Duration
	mu         sync.Mutex
	// resting says when an address is released at the earliest: it must not be leased before its quarantine is over. sequences
	// says who was given one. Both are guarded by mu.
	resting   map[netip.Addr]rest
	sequences map[uint64]string
	// unseen is until when addresses may be in quarantine that nobody was told of. It is guarded by mu.
	unseen []time.Time
}

// rest is when an address is released, at the earliest and at the latest.
type rest struct{ from, by time.Time }

// release notes that a peer's addresses are released between two times.
func (r *register) release(addrs []netip.Addr, notBefore, notAfter time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, addr := range addrs {
		r.resting[addr] = rest{notBefore, notAfter}
	}
}

// keep notes that they are not.
func (r *register) keep(addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, addr := range addrs {
		delete(r.resting, addr)
	}
}

// restingAt counts the addresses of a family that nobody has and that are in quarantine at a time, at least and at most.
func (r *register) restingAt(f ipam.Family, held map[netip.Addr]wgnode.Peer, at span) (least, most uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, rest := range r.resting {
		if _, ok := held[addr]; ok || addr.Is4() != (f == ipam.IPv4) || rest.from.After(at.to) {
			continue
		}
		if rest.from.Add(r.quarantine).After(at.to) {
			least++
		}
		if rest.by.Add(r.quarantine + quarantineSlack).After(at.from) {
			most++
		}
	}
	for _, until := range r.unseen {
		if until.After(at.from) {
			most++
		}
	}
	return least, most
}

// hide notes that a peer may have come and gone.
func (r *register) hide(by time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unseen = append(r.unseen, by.Add(r.quarantine+quarantineSlack))
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
		if until := r.resting[addr].from.Add(r.quarantine); until.After(by) {
			errs = append(errs, fmt.Errorf("%s has %s %v before the end of its quarantine", to, addr, until.Sub(by)))
		}
		if !slices.ContainsFunc(pool(), func(p netip.Prefix) bool { return p.Contains(addr) }) {
			errs = append(errs, fmt.Errorf("%s has %s, which is not the pool's", to, addr))
		}
	}
	return errors.Join(errs...)
}
