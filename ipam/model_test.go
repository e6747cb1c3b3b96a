package ipam_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/waylume/waylume/ipam"
)

// model is a pool as plainly as it can be said: a list of what may be leased and maps of what is not free.
type model struct {
	cfg     ipam.Config
	books   map[ipam.Family]*modelBook
	start   time.Time
	elapsed time.Duration
}

// modelBook is the model of one family. What is leasable and in none of the maps has not been leased in this round.
type modelBook struct {
	gateway  netip.Addr
	leasable []netip.Addr // in windows, in order; for a /64 only the first few, see large
	large    netip.Prefix // of a /64, if that is the family's only prefix
	leased   map[netip.Addr]bool
	later    map[netip.Addr]bool
	resting  map[netip.Addr]time.Duration // when the rest is over, on the clock since start
}

// listed is how many addresses the model lists of a /64.
const listed = 300

func newModel(cfg ipam.Config, start time.Time) *model {
	m := &model{cfg: cfg, books: make(map[ipam.Family]*modelBook), start: start}
	for _, p := range cfg.Prefixes {
		f := family(p.Addr())
		b := m.books[f]
		first := b == nil
		if first {
			b = &modelBook{
				leased: make(map[netip.Addr]bool), later: make(map[netip.Addr]bool),
				resting: make(map[netip.Addr]time.Duration),
			}
			m.books[f] = b
		}
		var hosts []netip.Addr
		for a := p.Addr(); p.Contains(a) && len(hosts) < listed; a = a.Next() {
			hosts = append(hosts, a)
		}
		if p.Bits() == 64 {
			b.large = p
		}
		if len(hosts) > 2 {
			hosts = hosts[1:]
			if f == ipam.IPv4 {
				hosts = hosts[:len(hosts)-1]
			}
		}
		if first {
			b.gateway = hosts[0]
			hosts = hosts[1:]
		}
		for _, a := range hosts {
			if !m.excludes(a) {
				b.leasable = append(b.leasable, a)
			}
		}
	}
	return m
}

func family(a netip.Addr) ipam.Family {
	if a.Is4() {
		return ipam.IPv4
	}
	return ipam.IPv6
}

func (m *model) excludes(a netip.Addr) bool {
	return slices.ContainsFunc(m.cfg.Excluded, func(e netip.Prefix) bool { return e.Contains(a) })
}

// grain is what the end of a quarantine is rounded up to.
func (m *model) grain() time.Duration { return max(1, m.cfg.Quarantine/256) }

// tick moves the clock on and ends quarantines.
func (m *model) tick(now time.Time) {
	m.elapsed = max(m.elapsed, now.Sub(m.start))
	for _, b := range m.books {
		for a, until := range b.resting {
			if until <= m.elapsed {
				delete(b.resting, a)
				if b.inWindow(a) {
					b.later[a] = true
				}
			}
		}
	}
}

func (b *modelBook) inWindow(a netip.Addr) bool {
	if !b.large.IsValid() {
		return true
	}
	var offset big.Int
	offset.Sub(new(big.Int).SetBytes(a.AsSlice()), new(big.Int).SetBytes(b.large.Addr().AsSlice()))
	return offset.Cmp(big.NewInt(1<<24)) < 0
}

func (b *modelBook) capacity() uint64 {
	if b.large.IsValid() {
		return 1<<24 - 2
	}
	return uint64(len(b.leasable))
}

func (b *modelBook) taken(a netip.Addr) bool { _, rests := b.resting[a]; return b.leased[a] || rests }

func (m *model) lease(f ipam.Family) (netip.Addr, error) {
	b := m.books[f]
	if b == nil {
		return netip.Addr{}, ipam.ErrFamily
	}
	for range 2 {
		for _, a := range b.leasable {
			if !b.taken(a) && !b.later[a] {
				b.leased[a] = true
				return a, nil
			}
		}
		clear(b.later) // a new round
	}
	return netip.Addr{}, b.exhausted(f, m)
}

// leaseFor starts at the key's address. In a /64 the listed addresses are too few for that, so it is found by arithmetic.
func (m *model) leaseFor(f ipam.Family, key []byte) (netip.Addr, error) {
	b := m.books[f]
	if b == nil {
		return netip.Addr{}, ipam.ErrFamily
	}
	sum := sha256.Sum256(key)
	index := new(big.Int).SetBytes(sum[:8])
	index.Mul(index, new(big.Int).SetUint64(b.capacity())).Rsh(index, 64)
	if b.large.IsValid() {
		host := new(big.Int).Add(new(big.Int).SetBytes(b.leasable[0].AsSlice()), index)
		a := netip.AddrFrom16([16]byte(host.FillBytes(make([]byte, 16))))
		for b.taken(a) {
			a = a.Next() // the keys of the test are not near the end of the window
		}
		return a, m.leaseAddr(a)
	}
	at := int(index.Int64())
	for _, a := range slices.Concat(b.leasable[at:], b.leasable[:at]) {
		if !b.taken(a) {
			return a, m.leaseAddr(a)
		}
	}
	return netip.Addr{}, b.exhausted(f, m)
}

func (b *modelBook) exhausted(f ipam.Family, m *model) error {
	err := &ipam.ExhaustedError{Family: f, Capacity: uint64(len(b.leasable)), Quarantined: uint64(len(b.resting))}
	if len(b.resting) > 0 {
		err.Until = m.wall(slices.Min(slices.Collect(maps.Values(b.resting))))
	}
	return err
}

// wall is a time since start on the wall; the clock of the tests may stand behind the pool's.
func (m *model) wall(d time.Duration) time.Time { return m.cfg.Now().Add(d - m.elapsed) }

func (m *model) leaseAddr(a netip.Addr) error {
	b := m.books[family(a)]
	inPool := slices.ContainsFunc(m.cfg.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	if !inPool {
		return ipam.ErrNotInPool
	}
	leasable := slices.Contains(b.leasable, a) || b.large.Contains(a) && b.large.Addr() != a && b.gateway != a
	switch _, rests := b.resting[a]; {
	case !leasable || m.excludes(a):
		return ipam.ErrReserved
	case b.leased[a]:
		return ipam.ErrTaken
	case rests:
		until := b.resting[a]
		if b.inWindow(a) {
			for other, end := range b.resting {
				if b.inWindow(other) {
					until = max(until, end)
				}
			}
		}
		return &ipam.AddrError{Op: "lease", Addr: a, Until: m.wall(until), Err: ipam.ErrQuarantined}
	}
	delete(b.later, a)
	b.leased[a] = true
	return nil
}

func (m *model) release(a netip.Addr) error {
	if err := m.discard(a); err != nil {
		return err
	}
	b := m.books[family(a)]
	switch {
	case m.cfg.Quarantine != ipam.NoQuarantine:
		until := m.elapsed + m.cfg.Quarantine
		if odd := until % m.grain(); odd > 0 {
			until += m.grain() - odd
		}
		// No rest ends before one that began earlier; after a restart these need not end at a multiple of the grain.
		for other, end := range b.resting {
			if b.inWindow(other) == b.inWindow(a) {
				until = max(until, end)
			}
		}
		b.resting[a] = until
	case b.inWindow(a):
		b.later[a] = true
	}
	return nil
}

func (m *model) discard(a netip.Addr) error {
	if !slices.ContainsFunc(m.cfg.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return ipam.ErrNotInPool
	}
	if b := m.books[family(a)]; b.leased[a] {
		delete(b.leased, a)
		return nil
	}
	return ipam.ErrNotLeased
}

// saved is the model of a snapshot.
type saved struct {
	model *model
	taken time.Time
}

func (m *model) snapshot(now time.Time) saved {
	s := saved{taken: now, model: &model{cfg: m.cfg, start: m.start, elapsed: m.elapsed, books: make(map[ipam.Family]*modelBook)}}
	for f, b := range m.books {
		c := *b
		c.leased, c.later, c.resting = maps.Clone(b.leased), maps.Clone(b.later), maps.Clone(b.resting)
		s.model.books[f] = &c
	}
	return s
}

// restore makes the model that of the snapshot, but for its clock.
func (m *model) restore(s saved, now time.Time) {
	passed := max(0, now.Sub(s.taken))
	longest := m.cfg.Quarantine + m.grain()
	if m.cfg.Quarantine == ipam.NoQuarantine {
		longest = 0
	}
	restored := s.model.snapshot(s.taken).model
	m.books = restored.books
	for _, b := range m.books {
		for a, until := range b.resting {
			b.resting[a] = m.elapsed + max(0, min(until-restored.elapsed-passed, longest))
		}
	}
	m.tick(now)
}

func (m *model) leases() []netip.Addr {
	var list []netip.Addr
	for _, f := range []ipam.Family{ipam.IPv4, ipam.IPv6} {
		b := m.books[f]
		if b == nil {
			continue
		}
		at := make(map[netip.Addr]int)
		for i, a := range b.leasable {
			at[a] = i - len(b.leasable) // before those of a /64 that are not listed, which are equal
		}
		list = slices.AppendSeq(list, func(yield func(netip.Addr) bool) {
			for _, a := range slices.SortedFunc(maps.Keys(b.leased), func(x, y netip.Addr) int {
				return cmp.Or(cmp.Compare(at[x], at[y]), x.Compare(y))
			}) {
				yield(a)
			}
		})
	}
	return list
}

func (m *model) stats() []ipam.Stats {
	var list []ipam.Stats
	for _, f := range []ipam.Family{ipam.IPv4, ipam.IPv6} {
		b := m.books[f]
		if b == nil {
			continue
		}
		s := ipam.Stats{Family: f, Capacity: b.capacity()}
		for a := range b.leased {
			if b.inWindow(a) {
				s.Leased++
			} else {
				s.Outlying++
			}
		}
		for a := range b.resting {
			if b.inWindow(a) {
				s.Quarantined++
			} else {
				s.OutlyingQuarantined++
			}
		}
		s.Free = s.Capacity - s.Leased - s.Quarantined
		list = append(list, s)
	}
	return list
}

// same returns an error unless got is the error that the model wants: the same condition, and the same times and counts.
func same(want, got error) error {
	var wantAddr, gotAddr *ipam.AddrError
	var wantFull, gotFull *ipam.ExhaustedError
	switch {
	case want == nil || got == nil:
		if want == nil && got == nil {
			return nil
		}
	case errors.As(want, &wantFull):
		if errors.As(got, &gotFull) && *gotFull == *wantFull && errors.Is(got, ipam.ErrExhausted) {
			return nil
		}
	case errors.As(want, &wantAddr):
		if errors.As(got, &gotAddr) && errors.Is(got, wantAddr.Err) && wantAddr.Until.Equal(gotAddr.Until) {
			return nil
		}
	case errors.Is(got, want):
		return nil
	}
	return fmt.Errorf("the error is %w and should be %w", got, want)
}

// compare returns an error unless pool and model agree in all that shows.
func (m *model) compare(p *ipam.Pool) error {
	m.tick(m.cfg.Now())
	if got, want := p.Stats(), m.stats(); !slices.Equal(got, want) {
		return fmt.Errorf("stats are %+v and should be %+v", got, want)
	}
	if got, want := slices.Collect(p.Leases()), m.leases(); !slices.Equal(got, want) {
		return fmt.Errorf("leases are %v and should be %v", got, want)
	}
	return p.Check()
}

// carry sends a snapshot through JSON.
func carry(s ipam.Snapshot) (ipam.Snapshot, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return ipam.Snapshot{}, err
	}
	var back ipam.Snapshot
	return back, json.Unmarshal(text, &back)
}
