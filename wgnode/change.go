package wgnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// unwindTimeout bounds the undoing of a change that failed, which goes on when the caller's context has ended.
const unwindTimeout = 10 * time.Second

// acquire takes the slot that admits one change at a time. Who holds it may read what the node holds without a lock, and
// takes mu only to write; who does not hold it reads under mu. No lock is held while the dataplane or the store works.
func (n *Node) acquire(ctx context.Context) (release func(), err error) {
	return n.acquireUnless(ctx, nil)
}

// acquireUnless is acquire for who wants the slot only until done is closed: then it returns nil and no error.
func (n *Node) acquireUnless(ctx context.Context, done <-chan struct{}) (release func(), err error) {
	if err := n.life.check(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case <-done:
		return nil, nil
	case n.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-n.life.closing:
		return nil, ErrClosed
	}
	if err := n.life.check(); err != nil {
		<-n.slot
		return nil, err
	}
	return func() { <-n.slot }, nil
}

// step is one part of a change, and how to take it back. A nil undo means that nothing is left to take back.
type step struct {
	name     string
	do, undo func(context.Context) error
}

// perform takes steps in order. If one fails, or ctx ends before one, those taken are undone in reverse, whatever became
// of ctx: a change is made whole or not at all. A step that fails has done nothing. If undoing fails, the error says so,
// and the node is brought right by the next sync.
func (n *Node) perform(ctx context.Context, steps ...step) error {
	for i, s := range steps {
		err := context.Cause(ctx)
		if err == nil {
			err = s.do(ctx)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			return errors.Join(err, n.unwind(ctx, steps[:i]))
		}
	}
	return nil
}

func (n *Node) unwind(ctx context.Context, steps []step) (err error) {
	if len(steps) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwindTimeout)
	defer cancel()
	ctx, end := n.trace(ctx, "undo", Subject{}, 0)
	defer func() { end(err) }()
	var errs []error
	for _, s := range slices.Backward(steps) {
		if s.undo == nil {
			continue
		}
		if err := s.undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("undo %s: %w", s.name, err))
		}
	}
	if len(errs) > 0 {
		n.inbox.disturbed()
	}
	return errors.Join(errs...)
}

// stored is the step that writes a batch. The inverse is the batch that takes it back.
func (n *Node) stored(batch, inverse []Mutation) step {
	return step{
		name: "write to store",
		do:   func(ctx context.Context) error { return n.commit(ctx, batch, inverse) },
		undo: func(ctx context.Context) error { return n.commit(ctx, inverse, inverse) },
	}
}

// applied is the step that makes a change in the dataplane. The inverse is the change that takes it back.
func (n *Node) applied(change, inverse Change) step {
	return step{
		name: "apply to dataplane",
		do:   func(ctx context.Context) error { return n.apply(ctx, change) },
		undo: func(ctx context.Context) error { return n.apply(ctx, inverse) },
	}
}

// commit writes a batch, with what is owed from before. Whether a batch whose commit failed is durable is not known, so
// that its inverse is then owed: it goes out with the next commit, or with the next tick of the node.
func (n *Node) commit(ctx context.Context, batch, inverse []Mutation) error {
	all := make([]Mutation, 0, len(n.owed)+len(batch))
	for _, m := range n.owed {
		all = append(all, m)
	}
	all = append(all, batch...)
	if len(all) == 0 {
		return nil
	}
	commitCtx, end := n.trace(ctx, "write to store", Subject{}, len(all))
	err := n.cfg.Store.Commit(commitCtx, all)
	end(err)
	if n.life.check() == nil { // else who starts or closes the node hears of it
		n.health.stored(ctx, err)
	}
	if err != nil {
		for _, m := range inverse {
			n.owed[recordID{m.Kind, m.Key}] = m
		}
		return err
	}
	clear(n.owed)
	return nil
}

// earliestLocked is the first moment at which there is something to do for time's sake; zero: there is none. The caller holds mu.
func (n *Node) earliestLocked() time.Time {
	return earlier(n.inv.deadlines.earliest(), n.up.overlap.wake())
}

// settle writes what a change made of the node, and wakes the node's goroutine if it has to look at its clock anew. The
// caller holds the slot.
func (n *Node) settle(write func(*inventory)) {
	n.mu.Lock()
	before := n.earliestLocked()
	write(&n.inv)
	after := n.earliestLocked()
	n.mu.Unlock()
	if !after.Equal(before) {
		n.inbox.poke()
	}
}
