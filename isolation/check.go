package isolation

import (
	"github.com/waylume/waylume/internal/packet"
)

// Check judges one packet. From is the member it came from, nil if it came from outside: from the internet, the host or
// the node itself. To is the member it goes to, nil if it goes outside; Check looks whether its address is a member's
// all the same, and whether a source from outside is. P was parsed from raw, which is looked at only for what an ICMP
// error quotes, and may be nil to do without.
//
// It allocates nothing but for a flow that it remembers, which settles at the bounds of [Config], and takes no lock but
// those of the two members, for packets between members and for fragments.
func (f *Filter) Check(from, to *Member, p *packet.Info, raw []byte) Verdict {
	if to == nil {
		to = f.Lookup(p.Dst)
	}
	c := check{filter: f, from: from, to: to}
	if reason, ok := c.ends(p); !ok {
		return Verdict{Reason: reason}
	}
	t := tupleOf(p)
	if p.Fragment {
		c.holder().recallFragment(&t, p.FragmentID, f.now())
	}
	if p.IsICMPError() && !p.MoreFragments && c.related(p, raw) {
		return Verdict{Allow: true, Reason: ReasonRelated}
	}
	verdict := c.flow(&t)
	if verdict.Allow && p.MoreFragments && !p.Fragment {
		c.holder().keepFragment(&t, p.FragmentID, f.now())
	}
	return verdict
}

// CheckPacket is Check for those who have no use for the parsed headers: it parses raw, an IP packet, and finds the
// receiver by its address.
func (f *Filter) CheckPacket(from *Member, raw []byte) Verdict {
	var p packet.Info
	if p.Parse(raw) != nil {
		return Verdict{Reason: ReasonMalformed}
	}
	return f.Check(from, nil, &p, raw)
}

// check is one packet's way through the filter.
type check struct {
	filter             *Filter
	from, to           *Member
	in                 *installed
	fromState, toState *memberState // nil for outside
}

// holder is the member whose bounds a fragment counts against.
func (c *check) holder() *Member {
	if c.from != nil {
		return c.from
	}
	return c.to
}

// ends finds both ends' states under one plan, and checks that the packet's addresses are theirs.
func (c *check) ends(p *packet.Info) (Reason, bool) {
	if c.from == nil && c.to == nil {
		return ReasonUnknown, false
	}
	for current := false; !current; {
		c.in, current = c.filter.installed.Load(), true
		if c.from != nil {
			c.fromState, current = c.from.under(c.in)
		}
		if c.to != nil && current {
			c.toState, current = c.to.under(c.in)
		}
	}
	switch {
	case c.from != nil && c.fromState == nil, c.to != nil && c.toState == nil:
		return ReasonUnknown, false
	case c.from != nil && !c.fromState.owns(p.Src), c.from == nil && c.filter.Lookup(p.Src) != nil:
		return ReasonSpoofed, false
	case c.to != nil && !c.toState.owns(p.Dst):
		return ReasonMisrouted, false
	}
	return 0, true
}

func (c *check) flow(t *tuple) Verdict {
	switch {
	case c.from == nil:
		return c.inbound(t)
	case c.to == nil:
		return c.in.plan.judge(c.fromState.selection, nil, t.dst, t.service())
	}
	return c.between(t)
}

// inbound judges a packet from outside by the flow that it would answer, of which nothing is remembered: address
// translation or the node's own sockets match it to one.
func (c *check) inbound(t *tuple) Verdict {
	switch {
	case t.noPort && t.protocol == ICMP:
		return Verdict{Reason: ReasonFragment}
	case t.role == opens, t.role == alone && !t.noPort:
		return Verdict{Reason: ReasonUnsolicited}
	}
	asked := t.reversed()
	verdict := c.in.plan.judge(c.toState.selection, nil, asked.dst, asked.service())
	if verdict.Allow {
		verdict.Reason = ReasonReply
	}
	return verdict
}

// between judges a packet between members: it passes as an answer to a flow that is remembered and still allowed, or if a
// rule allows it.
func (c *check) between(t *tuple) Verdict {
	sender, receiver := c.fromState.selection, c.toState.selection
	verdict := c.in.plan.judge(sender, receiver, t.dst, t.service())
	if t.role == alone || t.noPort {
		return verdict
	}
	asked := t.reversed()
	mayAnswer := t.role != opens && c.in.plan.judge(receiver, sender, asked.dst, asked.service()).Allow
	mayBegin := t.role != answers && verdict.Allow
	if !mayAnswer && !mayBegin {
		return verdict
	}
	now, key := c.filter.now(), asked.key()
	if mayAnswer && c.to.answered(&key, t, c.from.serial, now) {
		return Verdict{Allow: true, Reason: ReasonReply}
	}
	// Were the answers to a flow that no rule allows any more taken for a flow of their own, it would live on.
	if mayBegin && !(t.role == either && !mayAnswer && c.to.remembers(&key, c.from.serial, now)) {
		c.from.record(t, c.to.serial, now)
	}
	return verdict
}
