package isolation

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Member is a subject in a [Filter], to be kept beside the peer so that a packet needs no search for it.
type Member struct {
	id     string
	config *Config
	serial uint64                      // never given twice: a flow's other end is this member, not a later one with its address
	state  atomic.Pointer[memberState] // nil once removed

	tracked atomic.Int32 // number of flows, so that members without any are never locked

	mu     sync.Mutex
	memory *memory // nil while nothing is remembered
}

// memory is what a member remembers.
type memory struct {
	flows     flowTable // that the member began towards other members
	fragments flowTable // of packets that the member sent, or that came to it from outside
}

// memberState is a subject, but for the ID that its member has, under an installed plan; it is immutable.
type memberState struct {
	account   string
	labels    map[string]string
	addrs     []netip.Addr
	in        *installed
	selection *selection // that others share
}

func newMemberState(s Subject, in *installed) *memberState {
	return &memberState{account: s.Account, labels: s.Labels, addrs: s.Addrs, in: in, selection: in.plan.selects(s)}
}

// subject is that of the member with this ID.
func (s *memberState) subject(id string) Subject {
	return Subject{ID: id, Account: s.account, Labels: s.labels, Addrs: s.addrs}
}

func (s *memberState) owns(addr netip.Addr) bool { return slices.Contains(s.addrs, addr) }

func newMember(id string, serial uint64, c *Config) *Member {
	return &Member{id: id, config: c, serial: serial}
}

// remember returns the member's memory; m.mu is held.
func (m *Member) remember() *memory {
	if m.memory == nil {
		c := m.config
		m.memory = &memory{
			flows:     newFlowTable(c.MaxFlows, c.Timeouts.idle),
			fragments: newFlowTable(c.MaxFragments, c.Timeouts.idleFragment),
		}
	}
	return m.memory
}

// ID returns the subject's ID.
func (m *Member) ID() string { return m.id }

// Flows returns how many flows to other members are remembered, expired ones included.
func (m *Member) Flows() int { return int(m.tracked.Load()) }

// under returns the member's state under in, or nil if it was removed. It reports false when a newer plan than in has been
// installed.
func (m *Member) under(in *installed) (*memberState, bool) {
	for {
		s := m.state.Load()
		switch {
		case s == nil || s.in == in:
			return s, true
		case s.in.generation > in.generation:
			return nil, false
		}
		if next := newMemberState(s.subject(m.id), in); m.state.CompareAndSwap(s, next) {
			return next, true
		}
	}
}

// record remembers that the member sent a packet of a flow that it began, or may have begun, towards peer.
func (m *Member) record(t *tuple, peer uint64, now time.Duration) {
	key := t.key()
	m.mu.Lock()
	defer m.mu.Unlock()
	flows := &m.remember().flows
	f := flows.find(&key, now)
	if f == nil {
		f = flows.add(&key, now)
		f.peer = peer
	} else if f.peer != peer {
		*f = flow{key: key, peer: peer, at: f.at, newer: f.newer, older: f.older}
	}
	f.see(t, true)
	flows.touch(f, now)
	m.tracked.Store(int32(len(flows.index)))
}

// answered reports whether the member remembers the flow key towards peer, and then notes that t answers it.
func (m *Member) answered(key *flowKey, t *tuple, peer uint64, now time.Duration) bool {
	if m.tracked.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.memory == nil {
		return false
	}
	f := m.memory.flows.find(key, now)
	if f == nil || f.peer != peer {
		return false
	}
	f.see(t, false)
	m.memory.flows.touch(f, now)
	return true
}

// remembers reports whether the member remembers the flow key towards peer.
func (m *Member) remembers(key *flowKey, peer uint64, now time.Duration) bool {
	if m.tracked.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.memory == nil {
		return false
	}
	f := m.memory.flows.find(key, now)
	return f != nil && f.peer == peer
}

// see follows a TCP connection as far as its time-out needs. Own packets come from the member that began the flow.
func (f *flow) see(t *tuple, own bool) {
	if t.protocol != TCP {
		return
	}
	if own && t.role == opens {
		f.answered, f.closedOwn, f.closedOther = false, false, false
	}
	f.answered = f.answered || !own
	switch {
	case t.flags&tcpRST != 0:
		f.closedOwn, f.closedOther = true, true
	case t.flags&tcpFIN != 0 && own:
		f.closedOwn = true
	case t.flags&tcpFIN != 0:
		f.closedOther = true
	}
}

// keepFragment remembers what the first fragment of a packet said, for those that follow it.
func (m *Member) keepFragment(t *tuple, id uint32, now time.Duration) {
	key := fragmentKey(t, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	fragments := &m.remember().fragments
	f := fragments.find(&key, now)
	if f == nil {
		f = fragments.add(&key, now)
	}
	f.first = firstFragment{t.srcPort, t.dstPort, t.role, t.flags}
	fragments.touch(f, now)
}

// recallFragment completes a later fragment by what the first one said.
func (m *Member) recallFragment(t *tuple, id uint32, now time.Duration) {
	key := fragmentKey(t, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.memory == nil {
		return
	}
	f := m.memory.fragments.find(&key, now)
	if f == nil {
		return
	}
	t.noPort = false
	t.srcPort, t.dstPort, t.role, t.flags = f.first.srcPort, f.first.dstPort, f.first.role, f.first.flags
}

// sweep forgets what has expired, and gives the memory back when nothing is left.
func (m *Member) sweep(now time.Duration) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.memory == nil {
		return 0
	}
	removed := m.memory.flows.sweep(now) + m.memory.fragments.sweep(now)
	flows := len(m.memory.flows.index)
	m.tracked.Store(int32(flows))
	if flows+len(m.memory.fragments.index) == 0 {
		m.memory = nil
	}
	return removed
}

// forget drops all flows.
func (m *Member) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory = nil
	m.tracked.Store(0)
}
