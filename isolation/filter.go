package isolation

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// Defaults of [Config].
const (
	DefaultMaxFlows     = 4096
	DefaultMaxFragments = 256
)

// Config bounds a [Filter]. A value that is zero or negative stands for its default.
type Config struct {
	// MaxFlows is how many flows to other peers are remembered per member that began them; at the bound the one idle
	// longest is forgotten, and replies to it no longer pass. About 200 bytes each. Default [DefaultMaxFlows].
	MaxFlows int
	// MaxFragments is the same for packets in fragments. Default [DefaultMaxFragments].
	MaxFragments int
	// Timeouts say how long a flow is remembered without a packet.
	Timeouts Timeouts
	// Now is the clock; default [time.Now].
	Now func() time.Time

	// Lookup returns the member that holds an address, or nil, without waiting for anybody. Who has a table of addresses
	// anyway gives it, and spares the filter one of its own; he then sees to it that no two subjects have the same address,
	// which the filter does not notice any more. Default: the filter's own table.
	Lookup func(netip.Addr) *Member
	// KeepSubjects says that nobody changes the slices and maps of subjects once the filter has them: it then keeps those
	// rather than copies.
	KeepSubjects bool
}

// Timeouts say how long a flow between peers may be idle. A value that is zero or negative stands for its default.
type Timeouts struct {
	// TCP is for connections: 2 hours 4 minutes (RFC 5382 section 5).
	TCP time.Duration
	// TCPTransitory is for connections that no packet has answered, and after RST or both FINs: 4 minutes (RFC 5382).
	TCPTransitory time.Duration
	// UDP is 5 minutes (RFC 4787 section 4.3).
	UDP time.Duration
	// ICMP is for echo: 1 minute (RFC 5508 section 3.2).
	ICMP time.Duration
	// Other is for all other protocols: 10 minutes, as in Linux.
	Other time.Duration
	// Fragment is for the fragments of one packet: 30 seconds, as in Linux.
	Fragment time.Duration
}

func (c Config) withDefaults() Config {
	positive := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	positive(&c.Timeouts.TCP, 2*time.Hour+4*time.Minute)
	positive(&c.Timeouts.TCPTransitory, 4*time.Minute)
	positive(&c.Timeouts.UDP, 5*time.Minute)
	positive(&c.Timeouts.ICMP, time.Minute)
	positive(&c.Timeouts.Other, 10*time.Minute)
	positive(&c.Timeouts.Fragment, 30*time.Second)
	if c.MaxFlows <= 0 {
		c.MaxFlows = DefaultMaxFlows
	}
	if c.MaxFragments <= 0 {
		c.MaxFragments = DefaultMaxFragments
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// idle is how long f may be idle.
func (t *Timeouts) idle(f *flow) time.Duration {
	switch f.key.protocol {
	case TCP:
		if !f.answered || f.closedOwn && f.closedOther {
			return t.TCPTransitory
		}
		return t.TCP
	case UDP:
		return t.UDP
	case ICMP:
		return t.ICMP
	}
	return t.Other
}

// idleFragment is idle for the fragments of one packet.
func (t *Timeouts) idleFragment(*flow) time.Duration { return t.Fragment }

// Filter executes a [Plan] on packets. All methods may be called from several goroutines at once. A change is in force
// for every [Filter.Check] that begins after it returned, and each packet is judged by one plan as a whole.
type Filter struct {
	config    Config
	started   time.Time
	installed atomic.Pointer[installed]
	byAddr    atomic.Pointer[bart.Table[*Member]]

	mu      sync.Mutex // for changes; no packet takes it
	members map[string]*Member
	serial  uint64
}

// installed is a plan since it was set: a plan may be set again later.
type installed struct {
	plan       *Plan
	generation uint64
}

// NewFilter makes a filter with no subjects and with the plan of the default policy, for a host of which only loopback
// is known. It starts nothing and needs no closing.
func NewFilter(c Config) *Filter {
	c = c.withDefaults()
	f := &Filter{config: c, started: c.Now(), members: map[string]*Member{}}
	f.installed.Store(&installed{plan: defaultPlan()})
	f.byAddr.Store(new(bart.Table[*Member]))
	return f
}

func defaultPlan() *Plan {
	p, err := Compile(Policy{}, nil, nil)
	if err != nil {
		panic(err) // not from any input: the default closures would contradict each other
	}
	return p
}

func (f *Filter) now() time.Duration { return f.config.Now().Sub(f.started) }

// SetPlan replaces the plan; nil stands for that of the default policy. Flows stay remembered, but each of their packets
// is judged by the new plan, so that what a rule no longer allows stops with the next packet.
func (f *Filter) SetPlan(p *Plan) {
	if p == nil {
		p = defaultPlan()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	in := &installed{plan: p, generation: f.installed.Load().generation + 1}
	f.installed.Store(in)
	// A packet that comes first does this for its own members; doing it here keeps it off the packet path.
	for _, m := range f.members {
		m.under(in)
	}
}

// SetSubject adds a subject or replaces what is known of it; one that is known as it is changes nothing. The member stays
// the same for one ID until it is removed, and so do its flows. The cost grows with the rules that name the subject and
// with the number of rules that have labels, and not with the number of subjects. The error is a [*SubjectError] or an
// [*AddressError]; then nothing has changed.
func (f *Filter) SetSubject(s Subject) (*Member, error) {
	members, err := f.SetSubjects(s)
	if err != nil {
		return nil, err
	}
	return members[0], nil
}

// SetSubjects does for many what SetSubject does for one, whole or not at all, and returns their members in the same order.
// It costs less by far than one call for each. They may take over what addresses others of them give up. An ID that stands
// there twice is a [*SubjectError].
func (f *Filter) SetSubjects(subjects ...Subject) ([]*Member, error) {
	seen := make(map[string]bool, len(subjects))
	for _, s := range subjects {
		if err := s.Validate(); err != nil {
			return nil, err
		}
		if seen[s.ID] {
			return nil, &SubjectError{s.ID, []string{"it stands there twice: leave one out"}}
		}
		seen[s.ID] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	members, serial := make([]*Member, len(subjects)), f.serial
	for i, s := range subjects {
		if members[i] = f.members[s.ID]; members[i] == nil {
			serial++
			members[i] = newMember(s.ID, serial, &f.config)
		}
	}
	table, err := f.assigned(subjects, members)
	if err != nil {
		return nil, err
	}
	for i, s := range subjects {
		m := members[i]
		if old := m.state.Load(); old == nil || !old.subject(m.id).Equal(s) {
			if s.ID = m.id; !f.config.KeepSubjects {
				s = s.Clone()
			}
			m.state.Store(newMemberState(s, f.installed.Load()))
		}
		f.members[m.id] = m
	}
	f.serial = serial
	f.byAddr.Store(table)
	return members, nil
}

// assigned returns the table of addresses in which those of subjects are their members'; f.mu is held.
func (f *Filter) assigned(subjects []Subject, members []*Member) (*bart.Table[*Member], error) {
	table, arrivals := f.byAddr.Load(), new(bart.Table[*Member])
	if f.config.Lookup != nil {
		return table, nil
	}
	for _, s := range subjects {
		for _, addr := range f.addrs(s.ID) {
			if !slices.Contains(s.Addrs, addr) {
				table = table.DeletePersist(single(addr))
			}
		}
	}
	for i, s := range subjects {
		for _, addr := range s.Addrs {
			holder, held := table.Get(single(addr))
			if !held {
				holder, held = arrivals.Get(single(addr))
			}
			switch {
			case !held:
				arrivals.Insert(single(addr), members[i])
			case holder != members[i]:
				return nil, &AddressError{Addr: addr, ID: s.ID, Holder: holder.id}
			}
		}
	}
	return table.UnionPersist(arrivals), nil
}

// addrs are those of the subject with an ID; none if there is no such subject.
func (f *Filter) addrs(id string) []netip.Addr {
	if m := f.members[id]; m != nil {
		return m.state.Load().addrs
	}
	return nil
}

// RemoveSubject forgets a subject and its flows; packets from or to its member no longer pass. Removing one that is not
// there changes nothing.
func (f *Filter) RemoveSubject(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[id]
	if m == nil {
		return
	}
	table := f.byAddr.Load()
	if f.config.Lookup == nil {
		for _, addr := range f.addrs(id) {
			table = table.DeletePersist(single(addr))
		}
	}
	m.state.Store(nil)
	f.byAddr.Store(table)
	delete(f.members, id)
	m.forget()
}

func single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// Lookup returns the member that holds an address, or nil. It takes no lock.
func (f *Filter) Lookup(addr netip.Addr) *Member {
	if f.config.Lookup != nil {
		return f.config.Lookup(addr)
	}
	m, _ := f.byAddr.Load().Lookup(addr)
	return m
}

// Member returns the member of a subject, or nil.
func (f *Filter) Member(id string) *Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[id]
}

// Sweep forgets flows that have timed out, and returns how many. Expired flows let nothing pass in any case, and the
// bounds hold without it: calling it about once a minute gives the memory of idle members back.
func (f *Filter) Sweep() int {
	f.mu.Lock()
	members := make([]*Member, 0, len(f.members))
	for _, m := range f.members {
		members = append(members, m)
	}
	f.mu.Unlock()
	removed, now := 0, f.now()
	for _, m := range members {
		removed += m.sweep(now)
	}
	return removed
}
