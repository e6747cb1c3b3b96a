package wgnode

import (
	"context"
	"slices"
	"time"
)

// SetExpiry sets when the time of a peer is over, or of each of the peers that an account has now; the zero time: never. A
// peer in its grace period is active again, unless it is suspended. Errors: [ErrNotFound], [*ValidationError] for a time that
// is past, [ErrNotStarted], [ErrClosed], and what the store and the dataplane return, after which all is as it was.
func (n *Node) SetExpiry(ctx context.Context, s Subject, at time.Time) error {
	at = wallClock(at)
	return n.edit(ctx, revision{
		op: "set expiry of", subject: s, detail: "expiry", reach: peersOf,
		unchanged: func(e entity) bool { return e.common().expiresAt().Equal(at) },
		edit: func(next entity, now time.Time) error {
			var p problems
			p.expiry("ExpiresAt", at, now)
			c := next.common()
			c.expiry, c.lapsed = expiryOf(at, c.gracePeriod()), false
			return p.err("expiry")
		},
	})
}

// SetGracePeriod sets how long the node keeps a peer after its expiry, or each of the peers that an account has now. One that
// is past the new end of its grace period is removed right after, as at any end; [PeerRemoved] tells. Errors as for SetExpiry.
func (n *Node) SetGracePeriod(ctx context.Context, s Subject, grace time.Duration) error {
	var p problems
	p.gracePeriod("GracePeriod", grace)
	return n.edit(ctx, revision{
		op: "set grace period of", subject: s, detail: "grace period", invalid: p.err("grace period"), reach: peersOf,
		unchanged: func(e entity) bool { return e.common().gracePeriod() == grace },
		edit: func(next entity, _ time.Time) error {
			c := next.common()
			c.expiry = expiryOf(c.expiresAt(), grace)
			return nil
		},
	})
}

// lapse closes the peers whose time has come and whose grace period begins. The caller holds the slot.
func (n *Node) lapse(ctx context.Context, due []entity, now time.Time) error {
	lapsing := peersWhere(&n.inv, due, func(p *peer) bool { return !p.lapsed && p.expired(now) && !p.over(now) })
	return n.revise(ctx, revision{
		detail: "expired", counts: true,
		edit: func(next entity, _ time.Time) error {
			next.common().lapsed = true
			return nil
		},
		tell: func(before, _ entity) []Event { return []Event{expired(before.(*peer))} },
	}, entities(lapsing)...)
}

// unlapse opens peers again that have not expired after all, because the clock was wrong and was set back. The caller holds
// the slot.
func (n *Node) unlapse(ctx context.Context, now time.Time) error {
	var early []*peer
	for _, p := range n.inv.peerOrder.entries {
		if p.lapsed && !p.expired(now) {
			early = append(early, p)
		}
	}
	return n.revise(ctx, revision{
		detail: "clock set back before expiry",
		edit: func(next entity, _ time.Time) error {
			next.common().lapsed = false
			return nil
		},
	}, entities(early)...)
}

func expired(p *peer) Event { return Event{Kind: PeerExpired, Peer: p.key, Account: p.account} }

// peersWhere keeps the peers of a list that the node has still, in the order in which they were added.
func peersWhere(inv *inventory, list []entity, keep func(*peer) bool) []*peer {
	var kept []*peer
	for _, e := range list {
		if p, ok := e.(*peer); ok && inv.holds(p) && keep(p) {
			kept = append(kept, p)
		}
	}
	slices.SortFunc(kept, func(a, b *peer) int { return compareOrder(a, b.sequence) })
	return kept
}

func entities(peers []*peer) []entity {
	list := make([]entity, len(peers))
	for i, p := range peers {
		list[i] = p
	}
	return list
}
