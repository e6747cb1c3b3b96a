package isolation_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/isolation"
)

// machine drives a filter and its model side by side.
type machine struct {
	model
	filter  *isolation.Filter
	handles []*modelMember // every member that was ever given out
	sent    []pkt          // the last packets, for errors to quote and answers to answer
	reasons map[isolation.Reason]int
}

func TestFilterAgainstItsModel(t *testing.T) {
	reasons := map[isolation.Reason]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, reasons)
		t.Repeat(map[string]func(*rapid.T){
			"plan":     m.setPolicy,
			"subjects": m.setSubjects,
			"remove":   m.removeSubject,
			"packet":   m.packet,
			"packet ":  m.packet,
			"answer":   m.answer,
			"answer ":  m.answer,
			"error":    m.icmpError,
			"fragment": m.laterFragment,
			"wait":     m.wait,
			"sweep":    func(*rapid.T) { m.filter.Sweep() },
			"":         m.invariants,
		})
	})
	for r := range isolation.Reason(isolation.NumReasons) {
		// Which closure an address has is for other tests.
		if r < isolation.ReasonPool && r != isolation.ReasonMalformed && reasons[r] == 0 {
			t.Errorf("the machine never came to %v: %v", r, reasons)
		}
	}
}

func newMachine(t *rapid.T, reasons map[isolation.Reason]int) *machine {
	m := &machine{reasons: reasons}
	m.reference = reference{host: someHost(), pool: somePool(), ranges: ranges()}
	m.members, m.maxFlows, m.maxFragments = map[string]*modelMember{}, 3, 2
	start := time.Unix(1_700_000_000, 0)
	m.filter = isolation.NewFilter(isolation.Config{
		MaxFlows: 3, MaxFragments: 2, Now: func() time.Time { return start.Add(m.now) },
	})
	m.setPolicy(t)
	for range 3 {
		m.setSubjects(t)
	}
	return m
}

func (m *machine) setPolicy(t *rapid.T) {
	m.policy = genPolicy().Draw(t, "policy")
	if rapid.Bool().Draw(t, "peers may meet") {
		m.policy.Deny = nil
		m.policy.Allow = append(m.policy.Allow, isolation.Rule{From: peers(rapid.SampledFrom(someIDs()).Draw(t, "from"))})
	}
	plan, err := isolation.Compile(m.policy, m.host, m.pool)
	require.NoError(t, err)
	m.filter.SetPlan(plan)
}

func (m *machine) setSubjects(t *rapid.T) {
	id := func(s isolation.Subject) string { return s.ID }
	subjects := rapid.SliceOfNDistinct(genSubject(peerAddrs()), 1, 3, id).Draw(t, "subjects")
	members, err := m.filter.SetSubjects(subjects...)
	holders := map[netip.Addr]string{}
	for other, x := range m.members {
		i := slices.IndexFunc(subjects, func(s isolation.Subject) bool { return s.ID == other })
		for _, a := range x.subject.Addrs {
			if i < 0 || slices.Contains(subjects[i].Addrs, a) { // it does not give it up
				holders[a] = other
			}
		}
	}
	for _, s := range subjects {
		for _, a := range s.Addrs {
			if holder, ok := holders[a]; ok && holder != s.ID {
				inUse, ok := errors.AsType[*isolation.AddressError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, isolation.AddressError{Addr: a, ID: s.ID, Holder: holder}, *inUse)
				return
			}
			holders[a] = s.ID
		}
	}
	require.NoError(t, err)
	for i, s := range subjects {
		x := m.members[s.ID]
		if x == nil {
			x = &modelMember{member: members[i]}
			m.members[s.ID] = x
			m.handles = append(m.handles, x)
		}
		x.subject = s.Clone()
		require.Same(t, x.member, members[i])
		require.Equal(t, s.ID, members[i].ID())
	}
}

func (m *machine) removeSubject(t *rapid.T) {
	id := rapid.SampledFrom(someIDs()).Draw(t, "id")
	m.filter.RemoveSubject(id)
	if x := m.members[id]; x != nil {
		x.removed = true
		delete(m.members, id)
		m.flows = slices.DeleteFunc(m.flows, func(f *modelFlow) bool { return f.owner == x })
	}
}

func (m *machine) wait(t *rapid.T) {
	m.now += rapid.SampledFrom([]time.Duration{
		1, time.Second, 29 * time.Second, time.Minute, 4 * time.Minute, 4*time.Minute + 1, 2 * time.Hour,
	}).Draw(t, "time")
}

// packet sends a packet from a peer or from outside, now and then with the wrong source or to the wrong member.
func (m *machine) packet(t *rapid.T) {
	from, to := m.draw(t, "from"), m.draw(t, "to")
	srcs, dsts := otherAddrs(), otherAddrs()
	if from != nil && rapid.IntRange(0, 9).Draw(t, "spoof") > 0 {
		srcs = from.subject.Addrs
	}
	if to != nil {
		dsts = slices.Concat(dsts, to.subject.Addrs, to.subject.Addrs, to.subject.Addrs)
	}
	dsts = slices.Concat(dsts, peerAddrs())
	p := genPacket(t, srcs, dsts)
	if to == nil || rapid.IntRange(0, 9).Draw(t, "misroute") > 0 {
		to = m.holderOf(p.dst)
	}
	m.send(t, from, to, p)
}

// draw picks a member, sometimes one that was removed, or nil.
func (m *machine) draw(t *rapid.T, label string) *modelMember {
	if len(m.handles) == 0 || rapid.IntRange(0, 4).Draw(t, label+" outside") == 0 {
		return nil
	}
	x := rapid.SampledFrom(m.handles).Draw(t, label)
	if x.removed && m.members[x.subject.ID] != nil && rapid.IntRange(0, 3).Draw(t, label+" gone") > 0 {
		return m.members[x.subject.ID]
	}
	return x
}

func (m *machine) drawSent(t *rapid.T) pkt {
	if len(m.sent) == 0 {
		t.Skip("nothing sent yet")
	}
	return rapid.SampledFrom(m.sent).Draw(t, "sent")
}

// answer sends what the receiver of an earlier packet may send back, or sends it once more.
func (m *machine) answer(t *rapid.T) {
	p := m.drawSent(t)
	p.quote, p.offset, p.more = nil, 0, rapid.IntRange(0, 3).Draw(t, "more") == 0
	if rapid.Bool().Draw(t, "back") {
		p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
		if kind, ok := map[uint8]uint8{8: 0, 128: 129}[p.kind]; ok && p.proto != 6 {
			p.kind = kind
		}
	}
	if p.proto == 6 {
		p.flags = rapid.SampledFrom([]uint8{syn, syn | ack, ack, fin | ack, rst}).Draw(t, "flags")
	}
	m.send(t, m.holderOf(p.src), m.holderOf(p.dst), p)
}

func (m *machine) laterFragment(t *rapid.T) {
	p := m.drawSent(t)
	p.quote, p.offset, p.more = nil, 1480, rapid.Bool().Draw(t, "more")
	m.send(t, m.holderOf(p.src), m.holderOf(p.dst), p)
}

func (m *machine) icmpError(t *rapid.T) {
	q := m.drawSent(t)
	p := pkt{src: q.dst, dst: q.src, proto: 1, kind: rapid.SampledFrom([]uint8{3, 11, 12}).Draw(t, "kind"), quote: &q}
	if p.src.Is6() {
		p.proto, p.kind = 58, rapid.SampledFrom([]uint8{1, 2, 3, 4}).Draw(t, "kind6")
	}
	switch rapid.IntRange(0, 9).Draw(t, "twist") {
	case 0:
		p.corrupt = true
	case 1:
		p.noRaw = true
	case 2:
		p.dst = rapid.SampledFrom(ofFamily(peerAddrs(), p.src)).Draw(t, "dst")
	case 3:
		p.more = true
	case 4, 5:
		p.src = rapid.SampledFrom(ofFamily(slices.Concat(otherAddrs(), peerAddrs()), p.src)).Draw(t, "router")
	}
	m.send(t, m.holderOf(p.src), m.holderOf(p.dst), p)
}

func (m *machine) send(t *rapid.T, from, to *modelMember, p pkt) {
	info, raw := p.parse(t)
	want := m.check(from, to, p)
	got := m.filter.Check(memberOf(from), memberOf(to), &info, raw)
	vague := p.offset > 0 && !want.Allow && got == isolation.Verdict{Reason: isolation.ReasonFragment}
	if got != want && !vague {
		t.Fatalf("%v: got %v, want %v", p, got, want)
	}
	m.reasons[got.Reason]++
	if m.sent = append(m.sent, p); len(m.sent) > 6 {
		m.sent = m.sent[1:]
	}
}

func memberOf(x *modelMember) *isolation.Member {
	if x == nil {
		return nil
	}
	return x.member
}

func (m *machine) invariants(t *rapid.T) {
	for _, a := range peerAddrs() {
		require.Same(t, memberOf(m.holderOf(a)), m.filter.Lookup(a))
	}
	for _, a := range []netip.Addr{addr("10.0.0.1"), addr("::1"), {}} {
		require.Nil(t, m.filter.Lookup(a))
	}
	for _, id := range someIDs() {
		require.Same(t, memberOf(m.members[id]), m.filter.Member(id))
	}
	for _, x := range m.handles {
		require.LessOrEqual(t, x.member.Flows(), m.maxFlows)
	}
}
