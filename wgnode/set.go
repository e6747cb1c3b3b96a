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
		unchanged: func(e entity) bool { return e.common().speedLimit == limit },
		edit: func(next entity, _ time.Time) error {
			next.common().speedLimit = limit
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
		unchanged: func(e entity) bool { return e.common().ledger.Cap().Equal(limit) },
		edit:      func(next entity, now time.Time) error { return next.common().setCap(limit, now) },
	})
}

// TopUp gives a peer or an account more for the period that runs, without changing its cap. A subject without a cap has
// nothing to top up, which is a [*ValidationError]. Other errors as for SetSpeedLimit.
func (n *Node) TopUp(ctx context.Context, s Subject, more quota.Bytes) error {
	return n.edit(ctx, revision{
		op: "top up", subject: s, detail: "top-up", counts: true,
		edit: func(next entity, now time.Time) error {
			c := next.common()
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
		edit: func(next entity, now time.Time) error {
			c := next.common()
			c.ledger.Reset(now, c.counters)
			return nil
		},
	})
}

// changed is the event that something of an entity was set.
func changed(e entity, detail string) Event {
	if p, ok := e.(*peer); ok {
		return Event{Kind: PeerChanged, Peer: p.key, Account: p.account, Detail: detail}
	}
	return Event{Kind: AccountChanged, Detail: detail}.of(e.subject())
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
	err := n.traced(ctx, op, Subject{}, func(ctx context.Context) error {
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
		if err := n.apply(ctx, change); err != nil {
			return fmt.Errorf("apply to dataplane: %w", err)
		}
		n.settle(write)
		n.events.publish(Event{Kind: NodeChanged, Detail: op[len("set "):]})
		return nil
	})
	if err != nil {
		return &OpError{Op: op, Err: err}
	}
	return nil
}
