package isolation

import "github.com/waylume/waylume/internal/packet"

// related reports whether an ICMP error is about a packet that its receiver sent, of a flow that passes: between members
// one that is remembered, else one that a member may have with the outside.
func (c *check) related(p *packet.Info, raw []byte) bool {
	quote := p.Transport + packet.ICMPHeaderLen
	if len(raw) < quote {
		return false
	}
	var q packet.Info
	if err := q.ParseQuoted(raw[quote:]); err != nil || q.Version != p.Version || q.Src != p.Dst {
		return false
	}
	t := tupleOf(&q)
	if t.role == alone { // an error or a later fragment, too
		return false
	}
	if c.from == nil {
		return c.relatedInbound(&t)
	}
	if !c.fromState.owns(t.dst) {
		return false
	}
	if c.to != nil {
		return c.relatedBetween(&t, c.to, c.from, c.toState, c.fromState)
	}
	asked := t.reversed()
	return c.in.plan.judge(c.fromState.selection, nil, asked.dst, asked.service()).Allow
}

// relatedInbound is for an error from outside, which any router on the way may have sent, the node among them.
func (c *check) relatedInbound(t *tuple) bool {
	other := c.filter.Lookup(t.dst)
	if other == nil {
		return c.in.plan.judge(c.toState.selection, nil, t.dst, t.service()).Allow
	}
	// Not to have the state of other under the same plan is rare, and safe.
	state, current := other.under(c.in)
	return current && state != nil && c.relatedBetween(t, c.to, other, c.toState, state)
}

// relatedBetween reports whether t, which went from sender to receiver, is of a flow that either began and still may.
func (c *check) relatedBetween(t *tuple, sender, receiver *Member, sent, received *memberState) bool {
	now := c.filter.now()
	key := t.key()
	if sender.remembers(&key, receiver.serial, now) &&
		c.in.plan.judge(sent.selection, received.selection, t.dst, t.service()).Allow {
		return true
	}
	asked := t.reversed()
	key = asked.key()
	return receiver.remembers(&key, sender.serial, now) &&
		c.in.plan.judge(received.selection, sent.selection, asked.dst, asked.service()).Allow
}
