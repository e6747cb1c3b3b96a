package wgnode

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// revision is a change to what is specified of entities.
type revision struct {
	op, detail string
	subject    Subject
	// invalid is what is wrong with the input, found before the node was asked; admit looks when it was.
	invalid error
	admit   func() error
	// reach, when not nil, says which entities change with the subject, in place of the subject itself.
	reach func(e entity) []entity
	// counts: the edit depends on what was used until now, or an entity may leave the dataplane, and its counters with it.
	counts bool
	// unchanged, when not nil, reports that there is nothing to do with an entity.
	unchanged func(e entity) bool
	edit      func(next entity, now time.Time) error
	// tell, when not nil, says what happened to an entity, in place of an event that it was changed.
	tell func(before, after entity) []Event
}

// draft is an entity and the revised copy that is to take its place.
type draft struct{ e, next entity }

// edit makes a revision to a subject by name.
func (n *Node) edit(ctx context.Context, r revision) error {
	err := n.traced(ctx, r.op, r.subject, func(ctx context.Context) error { return n.tryEdit(ctx, r) })
	if err != nil {
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
	if r.admit != nil {
		if err := r.admit(); err != nil {
			return err
		}
	}
	if r.reach != nil {
		return n.revise(ctx, r, r.reach(e)...)
	}
	return n.revise(ctx, r, e)
}

// revise makes copies of entities, edits them, stores them, puts them in force, and lets them take the place of the originals,
// all or none. The caller holds the slot.
func (n *Node) revise(ctx context.Context, r revision, entities ...entity) error {
	if r.unchanged != nil {
		entities = slices.DeleteFunc(entities, r.unchanged)
	}
	if len(entities) == 0 {
		return nil
	}
	if r.counts {
		if _, err := n.read(ctx, queryOf(entities...)); err != nil {
			return fmt.Errorf("read usage: %w", err)
		}
	}
	drafts, events, err := n.draft(r, entities)
	if err != nil {
		return err
	}
	n.logLast(ctx, succeeded(drafts))
	if err := n.enact(ctx, drafts); err != nil {
		return err
	}
	n.settle(func(inv *inventory) {
		for _, d := range drafts {
			d.next.common().saved()
			d.next.common().inForce()
			inv.replace(d.e, d.next)
		}
	})
	for _, e := range entities {
		n.log.Debug("changed", "subject", e.subject(), "what", r.detail)
	}
	n.events.publish(events...)
	return nil
}

// draft makes and edits the copies, and says what there is to tell when they are in place.
func (n *Node) draft(r revision, entities []entity) (drafts []draft, events []Event, err error) {
	now := time.Now()
	running := n.inv.running(now)
	for _, e := range entities {
		next := e.clone()
		if err := r.edit(next, now); err != nil {
			return nil, nil, err
		}
		c := next.common()
		c.resumeWatch(e.common().tenure, now, running)
		if r.tell != nil {
			events = append(events, r.tell(e, next)...)
		} else {
			events = append(events, changed(e, r.detail))
		}
		events = append(events, advance(next, now)...)
		drafts = append(drafts, draft{e, next})
	}
	return drafts, events, nil
}

// enact stores drafts and puts them in force. What leaves the dataplane does so at once, lest more of it passes than was
// counted; else the store comes first.
func (n *Node) enact(ctx context.Context, drafts []draft) error {
	var batch, inverse []Mutation
	var change, restoration Change
	for _, d := range drafts {
		before, err := recordsOf(d.e)
		if err != nil {
			return err
		}
		after, err := recordsOf(d.next)
		if err != nil {
			return err
		}
		batch = append(batch, succession(before, after)...)
		inverse = append(inverse, succession(after, before)...)
		change.succeed(d.e, d.next)
		restoration.succeed(d.next, d.e)
	}
	steps := []step{n.stored(batch, inverse)}
	switch applied := n.applied(change, restoration); {
	case len(change.RemovePeers) > 0:
		steps = []step{applied, steps[0]}
	case len(change.SetPeers)+len(change.SetAccounts) > 0:
		steps = append(steps, applied)
	}
	return n.perform(ctx, steps...)
}

// succession is the batch that has an entity's records take the place of those it had, which may have another key.
func succession(before, after []Mutation) []Mutation {
	var batch []Mutation
	for i, m := range before {
		if m.Key != after[i].Key {
			batch = append(batch, erase(m.Record))
		}
	}
	return append(batch, after...)
}

// succeed adds to a change what has one form of an entity take the place of another in the dataplane, which may be nothing.
func (c *Change) succeed(before, after entity) {
	if p, ok := before.(*peer); ok {
		q := after.(*peer)
		if p.active() && (!q.active() || q.key != p.key) {
			c.RemovePeers = append(c.RemovePeers, p.key)
		}
		if p.active() && q.active() && !q.stale() && p.state().Equal(q.state()) {
			return
		}
	}
	after.addTo(c)
}
