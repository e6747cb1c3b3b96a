package wgnode

import (
	"fmt"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// core is what a peer and an account have in common.
type core struct {
	tenure
	sequence   uint64
	createdAt  instant
	labels     map[string]string
	speedLimit shaping.Limit

	// ledger knows what of the cap is used; counters are what it was last told.
	ledger   *quota.Ledger
	counters quota.Counters
	// rekeyed is what a peer used under other keys than its present one; nil: it never had another. It is never changed.
	rekeyed *keyUses
	// applied is the budget that the dataplane has, which differs from the ledger's until the next change.
	applied quota.Budget
	// unsaved: usage moved on since it was last stored.
	unsaved bool
	// deadline is the entity's place among the node's deadlines, nil until it first has one; clones share it.
	deadline *deadline
}

func newCore(sequence uint64, limit quota.Cap, now time.Time) (core, error) {
	now = wallClock(now)
	ledger, err := quota.NewLedger(limit, now, quota.Counters{})
	if err != nil {
		return core{}, fmt.Errorf("make ledger: %w", err)
	}
	return core{
		sequence:  sequence,
		createdAt: instantOf(now),
		ledger:    ledger,
	}, nil
}

func (c *core) order() uint64 { return c.sequence }

func (c core) clone() core {
	c.ledger = c.ledger.Clone()
	return c
}

// restore takes over what was stored of usage.
func (c *core) restore(u usageRecord) {
	c.ledger, c.counters = u.Ledger, u.Counters
	c.lapsed, c.seen, c.rekeyed = u.Lapsed, u.Seen, keyUses{u.FormerKeys, u.KeysBefore}.kept()
}

// setCap changes the cap of a copy that is not in force yet. Setting what is so is no change, lest a ledger see one.
func (c *core) setCap(limit quota.Cap, now time.Time) error {
	if c.ledger.Cap().Equal(limit) {
		return nil
	}
	if err := c.ledger.SetCap(limit, now, c.counters); err != nil {
		return fmt.Errorf("set cap: %w", err)
	}
	return nil
}

// count takes new counters. A dataplane that has cut the subject off before its cap was used up, because a packet was
// larger than what was left, did so under the budget that it was given last.
func (c *core) count(counters quota.Counters, depleted bool, now time.Time) {
	if counters != c.counters {
		c.counters, c.unsaved = counters, true
	}
	if depleted {
		c.ledger.Deplete(wallClock(now), counters, c.applied)
	}
}

// advance lets time and counters pass in an entity's ledger, and returns what there is to tell.
func advance(e entity, now time.Time) []Event {
	c := e.common()
	var events []Event
	for _, h := range c.ledger.Advance(wallClock(now), c.counters) {
		events = append(events, happened(h).of(e.subject()))
	}
	c.unsaved = c.unsaved || len(events) > 0
	return events
}

// happened is the event for what a ledger found.
func happened(h quota.Event) Event {
	switch h.Kind {
	case quota.ThresholdReached:
		return Event{Kind: UsageThreshold, Percent: h.Percent, Usage: h.Usage}
	case quota.PeriodStarted:
		return Event{Kind: PeriodStarted, Usage: h.Usage, Ended: h.Ended}
	default:
		return Event{Kind: CapReached, Usage: h.Usage}
	}
}

// wake is when the node must look at the entity for time's sake; zero: never.
func (c *core) wake() time.Time { return earlier(c.ledger.Next(), c.next()) }

// stale reports that the dataplane does not have the budget that it should. Of what it does not have at all, that is no
// matter: what comes back comes with its budget.
func (c *core) stale() bool { return c.applied != c.ledger.Budget() }

// inForce notes that the dataplane was given the entity as it is.
func (c *core) inForce() { c.applied = c.ledger.Budget() }

// saved notes that the usage was stored as it is.
func (c *core) saved() { c.unsaved = false }
