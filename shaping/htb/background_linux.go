package htb

import (
	"context"
	"time"
)

// run does in the background what nobody waits for.
func (t *Tree) run(ctx context.Context) {
	const soonest, latest = time.Second, time.Minute
	retry := time.NewTimer(0)
	defer retry.Stop()
	backoff := soonest
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
			// Many changes that come at once, in one step.
			if !pause(ctx, gather) {
				return
			}
		case <-retry.C:
		}
		for {
			began := time.Now()
			more, err := t.step(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.log.Warn("cannot prepare traffic classes, will try again", "in", backoff, "error", err)
				retry.Reset(backoff)
				backoff = min(2*backoff, latest)
				break
			}
			backoff = soonest
			if !more {
				break
			}
			if !pause(ctx, t.respite(time.Since(began))) {
				return
			}
		}
	}
}

// gather is how long the background lets changes come together.
const gather = 2 * time.Millisecond

// pause reports whether the time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// respite is how long others have the kernel to themselves after a step, which held the kernel's lock for all network
// configuration: as long as the step took, and once a claim need not wait for a leaf, nine times as long.
func (t *Tree) respite(step time.Duration) time.Duration {
	if t.Stats().Ready < t.config.Reserve {
		return step
	}
	return 9 * step
}

// step brings some queues up to date, or else makes one leaf, and reports whether there may be more to do.
func (t *Tree) step(ctx context.Context) (more bool, err error) {
	if err := t.enter(ctx); err != nil {
		return false, err
	}
	defer t.leave()
	if !t.rooted {
		return false, nil
	}
	if len(t.stale) > 0 {
		const some = 32
		return true, t.freshen(ctx, some)
	}
	if t.pool.short(t.config.Reserve) == 0 {
		return false, nil
	}
	return true, t.growOne(ctx)
}

// arouse has the background look whether there is something to do.
func (t *Tree) arouse() {
	if len(t.stale) == 0 && t.pool.short(t.config.Reserve) == 0 {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Tree) growOne(ctx context.Context) error {
	s := t.pool.grow()
	if s == nil {
		return ErrExhausted
	}
	return t.put(ctx, s.class)
}

// Grow makes free leaves below the root until so many are ready, which a node that is about to add many peers can do ahead.
// The kernel takes ever longer for one, see the package documentation. Errors match [ErrExhausted] and [ErrNoRoot].
func (t *Tree) Grow(ctx context.Context, ready int) error {
	for {
		if err := t.enterRooted(ctx); err != nil {
			return err
		}
		var err error
		done := t.pool.readyLeaves() >= ready
		if !done {
			err = t.growOne(ctx)
		}
		t.leave()
		if done || err != nil {
			return err
		}
	}
}
