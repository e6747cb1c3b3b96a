package wgnode

import (
	"context"
	"fmt"
	"time"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// SetSpeedLimit sets the limit of a peer or an account, from the next packet on; sessions and queues stay. The zero limit
// is none. Errors: [ErrNotFound], [*ValidationError], [ErrNotStarted], [ErrClosed], and what the store and the dataplane
// return, after which the limit is as it was.
func (n *Node) SetSpeedLimit(ctx context.Context, s Subject, limit shaping.Limit) error {
	var p problems
	p.check("SpeedLimit", limit.Validate())
	return n.edit(ctx, revision{
		op: "set speed limit of", subject: s, detail: "speed limit", invalid: p.err("speed limit"),
		unchanged: func(c *core) bool { return c.speedLimit == limit },
		edit: func(c *core, _ time.Time) error {
			c.speedLimit = limit
			return nil
		},
	})
}

// SetDataCap sets the cap of a peer or an account. What was used in the period that runs counts on if the new cap has
// the same period; see [quota.Ledger.SetCap]. The zero cap is none. Errors as for SetSpeedLimit.
func (n *Node) SetDataCap(ctx context.Context, s Subject, limit quota.Cap) error {
	var p problems
	p.dataCap("DataCap", limit)
	limit = limit.Clone()
	return n.edit(ctx, revision{
		op: "set data cap of", subject: s, detail: "data cap", invalid: p.err("data cap"), counts: true,
		unchanged: func(c *core) bool { return c.dataCap.Equal(limit) },
		edit:      func(c *core, now time.Time) error { return c.setCap(limit, now) },
	})
}

// TopUp gives a peer or an account more for the period that runs, without changing its cap. A subject without a cap has
// nothing to top up, which is a [*ValidationError]. Other errors as for SetSpeedLimit.
func (n *Node) TopUp(ctx context.Context, s Subject, more quota.Bytes) error {
	return n.edit(ctx, revision{
		op: "top up", subject: s, detail: "top-up", counts: true,
		edit: func(c *core, now time.Time) error {
			var p problems
			if more == 0 {
				p.add("Bytes", "is 0")
			}
			p.check("Bytes", c.ledger.TopUp(more, now, c.counters))
			return p.err("top-up")
		},
	})
}

// ResetUsage forgets what a peer or an account used in the period that runs; counters go on. Errors as for SetSpeedLimit.
func (n *Node) ResetUsage(ctx context.Context, s Subject) error {
	return n.edit(ctx, revision{
		op: "reset usage of", subject: s, detail: "usage reset", counts: true,
		edit: func(c *core, now time.Time) error {
			c.ledger.Reset(now, c.counters)
			return nil
		},
	})
}

// revision is a change to what is specified of a subject.
type revision struct {
	op, detail string
	subject    Subject
	// invalid is what is wrong with the input, found before the node was asked.
	invalid error
	// counts: the edit depends on what was used until now.
	counts bool
	// unchanged, when not nil, reports that there is nothing to do.
	unchanged func(*core) bool
	edit      func(next *core, now time.Time) error
}

func (n *Node) edit(ctx context.Context, r revision) error {
	if err := n.tryEdit(ctx, r); err != nil {
		return &OpError{r.op, r.subject, err}
	}
	return nil
}

func (n *Node) tryEdit(ctx context.Context, r revision) error {
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if r.invalid != nil {
		return r.invalid
	}
	e, ok := n.inv.find(r.subject)
	if !ok {
		return ErrNotFound
	}
	if r.unchanged != nil && r.unchanged(e.common()) {
		return nil
	}
	return n.revise(ctx, e, r)
}

// revise makes a copy of the entity, edits it, stores it, puts it in force, and lets it take the place of the original.
// The caller holds the slot.
func (n *Node) revise(ctx context.Context, e entity, r revision) error {
	if r.counts {
		if _, err := n.read(ctx, queryOf(e)); err != nil {
			return fmt.Errorf("read usage: %w", err)
		}
	}
	now := time.Now()
	next := e.clone()
	if err := r.edit(next.common(), now); err != nil {
		return err
	}
	events := next.common().advance(now)

	batch, err := recordsOf(next)
	if err != nil {
		return err
	}
	inverse, err := recordsOf(e)
	if err != nil {
		return err
	}
	var change, restoration Change
	next.addTo(&change)
	e.addTo(&restoration)
	if err := n.perform(ctx, n.stored(batch, inverse), n.applied(change, restoration)); err != nil {
		return err
	}
	next.common().saved()
	next.common().inForce()
	n.settle(func(inv *inventory) {
		e.assign(next)
		inv.deadlines.set(e, e.common().wake())
	})
	n.log.Debug("changed", "subject", e.common().subject, "what", r.detail)
	n.events.publish(changed(e, r.detail))
	n.events.publish(events...)
	return nil
}

// changed is the event that something of an entity was set.
func changed(e entity, detail string) Event {
	if p, ok := e.(*peer); ok {
		return Event{Kind: PeerChanged, Peer: p.key, Account: p.account, Detail: detail}
	}
	return Event{Kind: AccountChanged, Detail: detail}.of(e.common().subject)
}

// SetPolicy replaces the policy, for flows that begin and for those under way. It holds until the node is closed: what is
// to hold at the next start belongs in [Config]. Errors: [*ValidationError], [ErrNotStarted], [ErrClosed], and what the
// dataplane returns, after which the policy is as it was.
func (n *Node) SetPolicy(ctx context.Context, policy isolation.Policy) error {
	var p problems
	p.check("Policy", policy.Validate())
	policy = policy.Clone()
	return n.setNode(ctx, "set policy", p.err("policy"), func(inv *inventory) (change Change, write func(*inventory)) {
		if inv.policy.Equal(policy) {
			return Change{}, nil
		}
		applied := policy.Clone()
		return Change{Policy: &applied}, func(inv *inventory) { inv.policy = policy }
	})
}

// SetNodeSpeedLimit replaces the ceiling for all peers together, from the next packet on. It holds until the node is
// closed: what is to hold at the next start belongs in [Config]. Errors as for SetPolicy.
func (n *Node) SetNodeSpeedLimit(ctx context.Context, limit shaping.Limit) error {
	var p problems
	p.check("SpeedLimit", limit.Validate())
	return n.setNode(ctx, "set node speed limit", p.err("speed limit"),
		func(inv *inventory) (change Change, write func(*inventory)) {
			if inv.speedLimit == limit {
				return Change{}, nil
			}
			return Change{SpeedLimit: &limit}, func(inv *inventory) { inv.speedLimit = limit }
		})
}

// setNode makes a change that concerns the node as a whole and is not stored. A prepare that returns no write has found
// that there is nothing to do.
func (n *Node) setNode(ctx context.Context, op string, invalid error,
	prepare func(*inventory) (change Change, write func(*inventory))) error {
	err := func() error {
		release, err := n.acquire(ctx)
		if err != nil {
			return err
		}
		defer release()
		if invalid != nil {
			return invalid
		}
		change, write := prepare(&n.inv)
		if write == nil {
			return nil
		}
		if err := n.cfg.Dataplane.Apply(ctx, change); err != nil {
			return fmt.Errorf("apply to dataplane: %w", err)
		}
		n.settle(write)
		n.events.publish(Event{Kind: NodeChanged, Detail: op[len("set "):]})
		return nil
	}()
	if err != nil {
		return &OpError{Op: op, Err: err}
	}
	return nil
}
