package isolation_test

import (
	"net/netip"
	"slices"
	"time"

	"github.com/waylume/waylume/isolation"
)

// model is a filter with state, as the documentation tells it: lists that are searched from end to end.
type model struct {
	reference
	now          time.Duration
	maxFlows     int
	maxFragments int
	members      map[string]*modelMember
	flows        []*modelFlow // the one idle longest first
	fragments    []*modelFragment
}

type modelMember struct {
	subject isolation.Subject
	member  *isolation.Member
	removed bool
}

type modelFlow struct {
	owner, peer        *modelMember
	own, other         netip.Addr
	ownPort, otherPort uint16
	protocol           isolation.Protocol
	last               time.Duration

	answered, finOwn, finOther bool
}

type modelFragment struct {
	holder   *modelMember
	src, dst netip.Addr
	proto    uint8
	id       uint32
	last     time.Duration
	first    view
}

// view is a packet as a flow sees it.
type view struct {
	src, dst               netip.Addr
	sport, dport           uint16
	protocol               isolation.Protocol
	flags                  uint8
	mayOpen, mayAnswer     bool
	ping, pong, portUnkown bool
}

func viewOf(p pkt) view {
	v := view{src: p.src, dst: p.dst, sport: p.sport, dport: p.dport, protocol: isolation.Protocol(p.proto), flags: p.flags}
	if p.proto == 58 {
		v.protocol = isolation.ICMP
	}
	switch {
	case p.offset > 0:
		return view{src: p.src, dst: p.dst, protocol: v.protocol, portUnkown: true}
	case v.protocol == isolation.ICMP:
		v.ping = p.kind == 8 || p.kind == 128
		v.pong = p.kind == 0 || p.kind == 129
		v.mayOpen, v.mayAnswer = v.ping, v.pong
		if v.ping || v.pong {
			v.sport, v.dport = p.echo, p.echo
		}
	case v.protocol == isolation.TCP:
		v.mayAnswer = p.flags&(syn|ack) != syn || p.flags&rst != 0
		v.mayOpen = p.flags&rst == 0 && p.flags&(syn|ack) != syn|ack
	default:
		v.mayOpen, v.mayAnswer = true, true
	}
	return v
}

func (v view) back() view {
	v.src, v.dst, v.sport, v.dport = v.dst, v.src, v.dport, v.sport
	return v
}

func (m *model) holderOf(a netip.Addr) *modelMember {
	for _, x := range m.members {
		if slices.Contains(x.subject.Addrs, a) {
			return x
		}
	}
	return nil
}

// verdict judges v as the first packet of a flow.
func (m *model) verdict(from, to *modelMember, v view) isolation.Verdict {
	f := flow{from: from.subject, dst: v.dst, protocol: v.protocol, port: v.dport}
	if to != nil {
		f.to = &to.subject
	}
	if v.portUnkown {
		return m.judgeAnyPort(f)
	}
	return m.judge(f)
}

func (m *model) check(from, to *modelMember, p pkt) isolation.Verdict {
	drop := func(r isolation.Reason) isolation.Verdict { return isolation.Verdict{Reason: r} }
	if to == nil {
		to = m.holderOf(p.dst)
	}
	switch {
	case from == nil && to == nil, from != nil && from.removed, to != nil && to.removed:
		return drop(isolation.ReasonUnknown)
	case from != nil && !slices.Contains(from.subject.Addrs, p.src), from == nil && m.holderOf(p.src) != nil:
		return drop(isolation.ReasonSpoofed)
	case to != nil && !slices.Contains(to.subject.Addrs, p.dst):
		return drop(isolation.ReasonMisrouted)
	}
	v, holder := viewOf(p), from
	if from == nil {
		holder = to
	}
	if p.offset > 0 {
		if f := m.findFragment(holder, p); f != nil {
			v = f.first
		}
	}
	if isError(p) && !p.more && m.related(from, to, p) {
		return isolation.Verdict{Allow: true, Reason: isolation.ReasonRelated}
	}
	got := m.flow(from, to, v)
	if got.Allow && p.offset == 0 && p.more {
		m.keepFragment(holder, p, v)
	}
	return got
}

func (m *model) flow(from, to *modelMember, v view) isolation.Verdict {
	switch {
	case from == nil:
		return m.inbound(to, v)
	case to == nil:
		return m.verdict(from, nil, v)
	}
	got := m.verdict(from, to, v)
	if v.portUnkown {
		return got
	}
	begun := m.find(to, from, v.back())
	if v.mayAnswer && begun != nil && m.verdict(to, from, v.back()).Allow {
		m.use(begun, v, false)
		return isolation.Verdict{Allow: true, Reason: isolation.ReasonReply}
	}
	if got.Allow && v.mayOpen && (begun == nil || !v.mayAnswer) {
		m.record(from, to, v)
	}
	return got
}

func (m *model) inbound(to *modelMember, v view) isolation.Verdict {
	switch {
	case v.portUnkown && v.protocol == isolation.ICMP:
		return isolation.Verdict{Reason: isolation.ReasonFragment}
	case !v.portUnkown && !v.mayAnswer:
		return isolation.Verdict{Reason: isolation.ReasonUnsolicited}
	}
	got := m.verdict(to, nil, v.back())
	if got.Allow {
		got.Reason = isolation.ReasonReply
	}
	return got
}

func isError(p pkt) bool {
	return p.offset == 0 && (p.proto == 1 && p.src.Is4() && slices.Contains([]uint8{3, 11, 12}, p.kind) ||
		p.proto == 58 && p.src.Is6() && p.kind >= 1 && p.kind <= 4)
}

func (m *model) related(from, to *modelMember, p pkt) bool {
	if p.quote == nil || p.corrupt || p.noRaw || p.quote.offset > 0 || p.quote.src != p.dst {
		return false
	}
	q := *p.quote
	q.flags = ack // what it was is not quoted
	v := viewOf(q)
	if !v.mayOpen && !v.mayAnswer || from != nil && !slices.Contains(from.subject.Addrs, q.dst) {
		return false
	}
	receiver := from // of the quoted packet
	if from == nil {
		receiver = m.holderOf(q.dst)
	}
	switch {
	case receiver == nil:
		return m.verdict(to, nil, v).Allow
	case to == nil:
		return m.verdict(receiver, nil, v.back()).Allow
	}
	return m.find(to, receiver, v) != nil && m.verdict(to, receiver, v).Allow ||
		m.find(receiver, to, v.back()) != nil && m.verdict(receiver, to, v.back()).Allow
}

func (m *model) find(owner, peer *modelMember, v view) *modelFlow {
	for _, f := range m.flows {
		if f.owner == owner && f.peer == peer && f.is(v) && m.now-f.last <= f.timeout() {
			return f
		}
	}
	return nil
}

func (f *modelFlow) is(v view) bool {
	return f.own == v.src && f.other == v.dst && f.ownPort == v.sport && f.otherPort == v.dport && f.protocol == v.protocol
}

func (f *modelFlow) timeout() time.Duration {
	switch {
	case f.protocol == isolation.TCP && f.answered && !(f.finOwn && f.finOther):
		return 124 * time.Minute
	case f.protocol == isolation.TCP:
		return 4 * time.Minute
	case f.protocol == isolation.UDP:
		return 5 * time.Minute
	case f.protocol == isolation.ICMP:
		return time.Minute
	}
	return 10 * time.Minute
}

func (m *model) use(f *modelFlow, v view, own bool) {
	f.last = m.now
	if i := slices.Index(m.flows, f); i >= 0 {
		m.flows = slices.Delete(m.flows, i, i+1)
	}
	m.flows = append(m.flows, f)
	if v.protocol != isolation.TCP {
		return
	}
	if own && v.flags&(syn|ack|rst) == syn {
		f.answered, f.finOwn, f.finOther = false, false, false
	}
	f.answered = f.answered || !own
	f.finOwn = f.finOwn || v.flags&rst != 0 || own && v.flags&fin != 0
	f.finOther = f.finOther || v.flags&rst != 0 || !own && v.flags&fin != 0
}

func (m *model) record(owner, peer *modelMember, v view) {
	if f := m.find(owner, peer, v); f != nil {
		m.use(f, v, true)
		return
	}
	// A flow of the same name, expired or with a peer that had the address before, makes room first.
	m.flows = slices.DeleteFunc(m.flows, func(f *modelFlow) bool { return f.owner == owner && f.is(v) })
	of := func(f *modelFlow) bool { return f.owner == owner }
	if count(m.flows, of) >= m.maxFlows {
		i := slices.IndexFunc(m.flows, of)
		m.flows = slices.Delete(m.flows, i, i+1)
	}
	m.use(&modelFlow{
		owner: owner, peer: peer, own: v.src, other: v.dst, ownPort: v.sport, otherPort: v.dport, protocol: v.protocol,
	}, v, true)
}

func (m *model) findFragment(holder *modelMember, p pkt) *modelFragment {
	for _, f := range m.fragments {
		if f.holder == holder && f.src == p.src && f.dst == p.dst && f.proto == p.proto && f.id == p.fragID &&
			m.now-f.last <= 30*time.Second {
			return f
		}
	}
	return nil
}

func (m *model) keepFragment(holder *modelMember, p pkt, first view) {
	m.fragments = slices.DeleteFunc(m.fragments, func(f *modelFragment) bool {
		return f.holder == holder && f.src == p.src && f.dst == p.dst && f.proto == p.proto && f.id == p.fragID
	})
	of := func(f *modelFragment) bool { return f.holder == holder }
	if count(m.fragments, of) >= m.maxFragments {
		i := slices.IndexFunc(m.fragments, of)
		m.fragments = slices.Delete(m.fragments, i, i+1)
	}
	m.fragments = append(m.fragments, &modelFragment{holder, p.src, p.dst, p.proto, p.fragID, m.now, first})
}

func count[T any](list []T, of func(T) bool) (n int) {
	for _, x := range list {
		if of(x) {
			n++
		}
	}
	return n
}
