package wgnode

import (
	"context"
	"errors"
	"time"
)

const (
	// taskTimeout bounds what the node does of its own accord at one time, so that a dataplane or a store that hangs does
	// not keep callers out for ever.
	taskTimeout = 30 * time.Second
	// retryDelay is how long something that failed rests before it is tried again.
	retryDelay = 5 * time.Second
	// checkpointRest is how many times as long as a checkpoint takes passes between two at least.
	checkpointRest = 10
	// maxDue is how many deadlines are met together, so that callers get their turn in between.
	maxDue = 256
)

// schedule is when the node's periodic tasks are due: sync and checkpoint by the monotonic clock, usage, which is zero without a
// log, by the wall clock.
type schedule struct{ sync, checkpoint, usage time.Time }

// run is the node's own goroutine: it answers the dataplane, meets deadlines, keeps periods, and in the end closes.
func (n *Node) run(ctx context.Context) {
	now := time.Now()
	due := schedule{
		sync: now.Add(n.cfg.SyncPeriod), checkpoint: now.Add(n.cfg.CheckpointPeriod), usage: n.nextReading(now),
	}
	n.inbox.lookAtAll() // a dataplane that was adopted has counted while nobody looked

	timer := time.NewTimer(n.nextWake(due))
	defer timer.Stop()
	for n.life.check() == nil {
		select {
		case <-ctx.Done():
		case <-n.inbox.wake:
		case <-timer.C:
		}
		n.work(ctx, &due)
		timer.Reset(n.nextWake(due))
	}
	n.life.endClose(n.tearDown(true))
}

// nextWake is how long the node may sleep. Deadlines are by the wall clock, which may be set while the node sleeps; the
// periods bound how late that is noticed.
func (n *Node) nextWake(due schedule) time.Duration {
	n.mu.RLock()
	next := n.earliestLocked()
	n.mu.RUnlock()
	next = earlier(earlier(next, due.usage), earlier(due.sync, due.checkpoint))
	return max(time.Until(next), time.Millisecond)
}

// work does what is due.
func (n *Node) work(ctx context.Context, due *schedule) {
	m := n.inbox.take()
	if m.failed != nil {
		n.log.Error("dataplane failed: the node closes", "error", m.failed)
		n.life.beginClose(m.failed)
		return
	}
	release, err := n.acquire(ctx)
	if err != nil {
		return // closing
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()

	now := time.Now()
	if m.sync || !due.sync.After(now) {
		due.sync = now.Add(n.cfg.SyncPeriod)
		if err := n.unlapse(ctx, now); err != nil {
			n.log.Warn("peers that have not expired after all not opened", "error", err)
		}
		if _, err := n.sync(ctx); err != nil {
			due.sync = now.Add(min(retryDelay, n.cfg.SyncPeriod))
		}
	}
	if err := n.poll(ctx, m.query()); err != nil {
		// The next checkpoint reads all counters, and puts in force all budgets that are not.
		n.log.Warn("budgets not brought up to date", "error", err)
	}
	n.meetOverlap(ctx, now)
	n.meetDeadlines(ctx, now)
	n.health.look(time.Now())
	logs := n.usageDue(due, now)
	if !logs && due.checkpoint.After(now) {
		return
	}
	began := time.Now()
	err = n.checkpoint(ctx)
	n.report(CheckpointFailed, err)
	due.checkpoint = now.Add(max(n.cfg.CheckpointPeriod, checkpointRest*time.Since(began)))
	switch {
	case logs && err == nil:
		n.logAll(n.readAt(began))
		due.usage = n.nextReading(now)
	case logs: // what was not read, or not stored, is not logged: the next checkpoint tries again
		due.usage = due.checkpoint
	}
}

// meetDeadlines closes and removes the peers whose time has come, and brings the data caps whose time has come up to date.
// What fails is tried again after a rest. The caller holds the slot.
func (n *Node) meetDeadlines(ctx context.Context, now time.Time) {
	n.mu.Lock()
	due := n.inv.deadlines.due(now, maxDue)
	n.mu.Unlock()
	if len(due) == 0 {
		return
	}
	ctx, end := n.trace(ctx, "meet deadlines", Subject{}, len(due))
	defer end(nil) // what failed is told by its parts
	if err := n.expire(ctx, due, now); err != nil {
		n.log.Warn("expired peers not removed", "error", err)
	}
	if err := n.lapse(ctx, due, now); err != nil {
		n.log.Warn("expired peers not closed", "error", err)
	}
	if err := n.retire(ctx, due, now); err != nil {
		n.log.Warn("idle peers not removed", "error", err)
	}
	if err := n.rollOver(ctx, due); err != nil {
		n.log.Warn("data caps not brought up to date", "error", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range due {
		if !n.inv.holds(e) {
			continue
		}
		next := e.common().wake()
		if !next.IsZero() && !next.After(now) {
			next = wallClock(now.Add(retryDelay))
		}
		n.inv.deadlines.set(e, next)
	}
}

// sync brings the dataplane to what it should be. The caller holds the slot.
func (n *Node) sync(ctx context.Context) (repairs []Repair, err error) {
	ctx, end := n.beginSync(ctx)
	defer func() { end(err) }()
	repairs, err = n.mendKey(ctx)
	if err == nil {
		var mended []Repair
		mended, err = n.cfg.Dataplane.Sync(ctx, n.inv.state())
		repairs = append(repairs, mended...)
	}
	if !gaveUp(ctx) { // a caller who gave up says nothing about the dataplane
		n.report(SyncFailed, err)
		n.health.synced(err)
	}
	if err != nil {
		return nil, err
	}
	n.health.repaired(repairs)
	n.lookAt = time.Time{} // what was wrong may be mended
	n.settle(func(inv *inventory) {
		for e := range inv.entities {
			e.common().inForce()
		}
		n.synced = time.Now()
	})
	for _, r := range repairs {
		n.log.Warn("repaired", "what", r.What, "subject", r.Subject)
		n.events.publish(n.repaired(r))
	}
	return repairs, nil
}

// gaveUp reports that a caller has.
func gaveUp(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// repaired is the event of a repair.
func (n *Node) repaired(r Repair) Event {
	e := Event{Kind: Repaired, Detail: r.What}
	if _, ok := n.inv.accounts[r.Subject]; ok {
		e.Account = r.Subject
	} else if key, err := parseKey(r.Subject); err == nil {
		e.Peer = key
	}
	return e
}

// report publishes the first of a row of failures.
func (n *Node) report(kind EventKind, err error) {
	n.failingMu.Lock()
	before := n.failing[kind]
	n.failing[kind] = err
	n.failingMu.Unlock()
	switch {
	case err != nil:
		n.log.Error(kind.String(), "error", err)
		if before == nil {
			n.events.publish(Event{Kind: kind, Err: err})
		}
	case before != nil:
		n.log.Info("works again", "after", kind.String())
	}
}
