package wgnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waylume/waylume/quota"
)

// Usage is what a subject used.
type Usage struct {
	// Usage is measured against the data cap, in the period that runs.
	quota.Usage
	// Counters are inner IP bytes since the subject was added, each direction apart, whatever its cap counts.
	Counters quota.Counters
}

// Usage reads what a peer or an account used, without disturbing traffic. Errors: [ErrNotFound], [ErrNotStarted],
// [ErrClosed], and what the dataplane returns.
func (n *Node) Usage(ctx context.Context, s Subject) (Usage, error) {
	usage, err := n.usage(ctx, s)
	if err != nil {
		return Usage{}, &OpError{"read usage of", s, err}
	}
	return usage, nil
}

func (n *Node) usage(ctx context.Context, s Subject) (Usage, error) {
	var q StatsQuery
	if key, ok := s.Peer(); ok {
		q.Peers = append(q.Peers, key)
	} else if id, ok := s.Account(); ok {
		q.Accounts = append(q.Accounts, id)
	}
	stats, err := n.stats(ctx, q)
	if err != nil {
		return Usage{}, err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	e, ok := n.inv.find(s)
	if !ok {
		return Usage{}, ErrNotFound
	}
	c := e.common()
	counters := c.counters
	for fresh := range stats.counters {
		if fresh.subject == s {
			counters = later(counters, fresh.counters)
		}
	}
	return Usage{c.ledger.Usage(wallClock(time.Now()), counters), counters}, nil
}

// reading is one subject's counters.
type reading struct {
	subject  Subject
	counters quota.Counters
	depleted bool
}

// counters yields every reading.
func (s Stats) counters(yield func(reading) bool) {
	for _, a := range s.Accounts {
		if !yield(reading{OfAccount(a.ID), a.Counters, a.Depleted}) {
			return
		}
	}
	for _, p := range s.Peers {
		if !yield(reading{OfPeer(p.PublicKey), p.Counters, p.Depleted}) {
			return
		}
	}
}

// later returns the newer of two readings of counters that only grow.
func later(a, b quota.Counters) quota.Counters {
	return quota.Counters{Download: max(a.Download, b.Download), Upload: max(a.Upload, b.Upload)}
}

// queryOf asks for the counters of some entities.
func queryOf[E entity](entities ...E) StatsQuery {
	var q StatsQuery
	for _, e := range entities {
		s := e.subject()
		if key, ok := s.Peer(); ok {
			q.Peers = append(q.Peers, key)
		} else if id, ok := s.Account(); ok {
			q.Accounts = append(q.Accounts, id)
		}
	}
	return q
}

// read takes counters from the dataplane into the ledgers, tells what happened, and returns the entities whose budget the
// dataplane must now be given. The caller holds the slot.
func (n *Node) read(ctx context.Context, q StatsQuery) (stale []entity, err error) {
	statsCtx, end := n.trace(ctx, "read counters", Subject{}, len(q.Peers)+len(q.Accounts))
	stats, err := n.cfg.Dataplane.Stats(statsCtx, q)
	end(err)
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	now := time.Now()
	n.observe(q, stats, now)
	var events []Event
	for r := range stats.counters {
		e, ok := n.inv.find(r.subject)
		if !ok {
			continue
		}
		n.settle(func(inv *inventory) {
			if p, ok := e.(*peer); ok {
				if p.readWithAll() && r.counters != p.counters {
					p.connection = inv.quiet.seen(p)
				}
				inv.pass(p.counters, r.counters)
			}
			e.common().count(r.counters, r.depleted, now)
			events = append(events, n.letPass(inv, e, now)...)
		})
		if e.common().stale() {
			stale = append(stale, e)
		}
	}
	n.events.publish(events...)
	return stale, nil
}

// letPass advances an entity's ledger and its deadline. One that was missed, as its work failed, rests until it is tried again.
func (n *Node) letPass(inv *inventory, e entity, now time.Time) []Event {
	c := e.common()
	events := advance(e, now)
	if next := c.wake(); next.IsZero() || next.After(now) || !c.deadline.after(now) {
		inv.deadlines.set(e, next)
	}
	return events
}

// poll reads counters and puts in force the budgets that follow from them. The caller holds the slot.
func (n *Node) poll(ctx context.Context, q StatsQuery) error {
	if !q.All && len(q.Peers)+len(q.Accounts) == 0 {
		return nil
	}
	stale, err := n.read(ctx, q)
	if err != nil {
		return err
	}
	return n.enforce(ctx, stale)
}

// enforce gives the dataplane the budgets of some entities. The caller holds the slot.
func (n *Node) enforce(ctx context.Context, stale []entity) error {
	if len(stale) == 0 {
		return nil
	}
	var change Change
	for _, e := range stale {
		e.addTo(&change)
	}
	if len(change.SetPeers)+len(change.SetAccounts) == 0 {
		return nil // none of them is active
	}
	if err := n.apply(ctx, change); err != nil {
		return fmt.Errorf("apply budgets to dataplane: %w", err)
	}
	n.settle(func(*inventory) {
		for _, e := range stale {
			e.common().inForce()
		}
	})
	return nil
}

// rollOver brings the data caps of entities up to date whose time has come, also of those that the dataplane has lost.
// The caller holds the slot.
func (n *Node) rollOver(ctx context.Context, due []entity) error {
	var held []entity
	for _, e := range due {
		if n.inv.holds(e) {
			held = append(held, e)
		}
	}
	if len(held) == 0 {
		return nil
	}
	_, err := n.read(ctx, queryOf(held...))
	now := time.Now()
	var events []Event
	var stale []entity
	for _, e := range held {
		n.settle(func(inv *inventory) { events = append(events, n.letPass(inv, e, now)...) })
		if e.common().stale() {
			stale = append(stale, e)
		}
	}
	n.events.publish(events...)
	return errors.Join(err, n.enforce(ctx, stale))
}

// checkpoint reads all counters, puts in force what follows, and saves. The caller holds the slot.
func (n *Node) checkpoint(ctx context.Context) (err error) {
	ctx, end := n.beginCheckpoint(ctx)
	defer func() { end(err) }()
	pollErr := n.pollAll(ctx)
	batch, err := n.survey(ctx)
	return errors.Join(pollErr, err, n.save(ctx, batch))
}

// lastCheckpoint is the checkpoint after the dataplane was closed: no budget is to be put in force any more.
func (n *Node) lastCheckpoint(ctx context.Context) error {
	_, err := n.read(ctx, StatsQuery{All: true})
	return errors.Join(err, n.save(ctx, nil))
}

// save stores the usage that moved on, with a batch and what is owed to the store, and forgets quarantines that are over. The
// caller holds the slot.
func (n *Node) save(ctx context.Context, batch []Mutation) error {
	var moved []entity
	for e := range n.inv.entities {
		if !e.common().unsaved {
			continue
		}
		record, err := encodeUsage(e)
		if err != nil {
			return err
		}
		batch, moved = append(batch, put(record)), append(moved, e)
	}
	over := n.resting.over(wallClock(time.Now()))
	for _, addr := range over {
		batch = append(batch, eraseResting(addr))
	}
	// What a failed commit may have left behind is newer than what was there, and is overwritten by the next: no inverse.
	if err := n.commit(ctx, batch, nil); err != nil {
		return fmt.Errorf("write to store: %w", err)
	}
	n.settle(func(*inventory) {
		for _, e := range moved {
			e.common().saved()
		}
	})
	for _, addr := range over {
		delete(n.resting, addr)
	}
	return nil
}
