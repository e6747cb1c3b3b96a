package htb

import (
	"context"
	"fmt"

	"github.com/waylume/waylume/shaping"
)

// Root makes what is missing of the root qdisc and class of each device, and sets the ceiling of the node. It comes before
// all that follows. The ceiling is in force when it returns; queues that are sized for another follow. Errors match
// [shaping.ErrRateRange].
func (t *Tree) Root(ctx context.Context, limit shaping.Limit) error {
	if err := limit.Validate(); err != nil {
		return fmt.Errorf("htb: root: %w", err)
	}
	if err := t.enter(ctx); err != nil {
		return err
	}
	defer t.leave()
	t.nodes[rootClass].limit = limit
	// Even when the limit is what it was: an earlier call may have failed.
	for c, s := range t.pool.slots {
		if s != nil && s.claimed {
			t.isStale(Class(c))
		}
	}
	defer t.arouse()
	if err := t.put(ctx, rootClass); err != nil {
		return err
	}
	t.rooted = true
	return nil
}

// Adopt claims this very leaf, for who remembers it from an earlier process: if it is free and there, with that parent (a
// claimed group, or 0 for the root), on one device at least; what is missing on the other is made. Its limit is in force when
// Adopt returns true, and nothing is written if it was before. After false, [Tree.Claim] another. An error leaves the class
// free.
func (t *Tree) Adopt(ctx context.Context, c, group Class, limit shaping.Limit) (bool, error) {
	return t.adopt(ctx, c, group, limit, false)
}

// AdoptGroup is Adopt for a group; it comes before its leaves.
func (t *Tree) AdoptGroup(ctx context.Context, c Class, limit shaping.Limit) (bool, error) {
	return t.adopt(ctx, c, 0, limit, true)
}

func (t *Tree) adopt(ctx context.Context, c, group Class, limit shaping.Limit, asGroup bool) (bool, error) {
	if err := limit.Validate(); err != nil {
		return false, fmt.Errorf("htb: class %v: %w", c, err)
	}
	if err := t.enterRooted(ctx); err != nil {
		return false, err
	}
	defer t.leave()
	if !t.pool.adopt(c, group, asGroup) {
		return false, nil
	}
	if err := t.fill(ctx, t.pool.get(c), limit); err != nil {
		return false, err
	}
	return true, nil
}

// Claim returns a leaf below a group, or below the root for group 0, with its limit in force on all devices. It is quick when
// there is a free one; else the kernel adds one, see the package documentation. Errors match [shaping.ErrRateRange],
// [ErrNoClass] for the group, [ErrExhausted] and [ErrNoRoot]; after one nothing is claimed.
func (t *Tree) Claim(ctx context.Context, group Class, limit shaping.Limit) (Class, error) {
	return t.claim(ctx, limit, func() (*slot, error) {
		if group != 0 && t.pool.claimedGroup(group) == nil {
			return nil, fmt.Errorf("%w: group %v", ErrNoClass, group)
		}
		return t.pool.claimLeaf(group), nil
	})
}

// ClaimGroup returns a group with its ceiling in force on all devices, if there is one with so many free leaves already.
// Errors are those of [Tree.Claim].
func (t *Tree) ClaimGroup(ctx context.Context, limit shaping.Limit, leaves int) (Class, error) {
	return t.claim(ctx, limit, func() (*slot, error) { return t.pool.claimGroup(leaves), nil })
}

func (t *Tree) claim(ctx context.Context, limit shaping.Limit, pick func() (*slot, error)) (Class, error) {
	if err := limit.Validate(); err != nil {
		return 0, fmt.Errorf("htb: %w", err)
	}
	if err := t.enterRooted(ctx); err != nil {
		return 0, err
	}
	defer t.leave()
	s, err := pick()
	if s == nil && err == nil {
		// Class ids have run out, but one may be free below another parent.
		if victim := t.pool.victim(); victim != nil {
			if err = t.remove(victim); err == nil {
				s, err = pick()
			}
		}
	}
	if s == nil && err == nil {
		err = fmt.Errorf("%w: all %d are in use; this node can shape no more peers and accounts", ErrExhausted, t.config.most)
	}
	if err != nil {
		return 0, err
	}
	defer t.arouse()
	if err := t.fill(ctx, s, limit); err != nil {
		return 0, err
	}
	return s.class, nil
}

// fill puts a slot that was claimed into force, or frees it again.
func (t *Tree) fill(ctx context.Context, s *slot, limit shaping.Limit) error {
	n := t.node(s.class)
	n.limit = limit
	err := t.put(ctx, s.class)
	if err != nil {
		n.limit = shaping.Limit{}
		t.pool.release(s)
	}
	return err
}

// Change sets the limit of a claimed leaf or group. It is in force on all devices when Change returns nil; after an error it
// may be on one, and another Change, or Sync, goes on from there. A limit that is in force is not written. Queues that are
// sized for another follow within milliseconds. Errors match [shaping.ErrRateRange] and [ErrNoClass].
func (t *Tree) Change(ctx context.Context, c Class, limit shaping.Limit) error {
	if err := limit.Validate(); err != nil {
		return fmt.Errorf("htb: class %v: %w", c, err)
	}
	if err := t.enterRooted(ctx); err != nil {
		return err
	}
	defer t.leave()
	s, err := t.claimed(c)
	if err != nil {
		return err
	}
	t.node(c).limit = limit
	defer t.arouse()
	err = t.putLimit(ctx, c)
	if !s.group {
		t.isStale(c)
	}
	for _, leaf := range s.below {
		if t.pool.get(leaf).claimed {
			t.isStale(leaf)
		}
	}
	return err
}

// Release gives a leaf, or a group without claimed leaves, back to the pool. The kernel keeps it as it is, so nothing should
// have it as its priority any more. It waits its turn, but not for the kernel. Errors match [ErrNoClass], [ErrInUse] and
// [ErrClosed].
func (t *Tree) Release(c Class) error {
	if err := t.enter(context.Background()); err != nil {
		return err
	}
	defer t.leave()
	s, err := t.claimed(c)
	if err != nil {
		return err
	}
	if s.claimedLeaves > 0 {
		return fmt.Errorf("%w: %v has %d; release them first", ErrInUse, c, s.claimedLeaves)
	}
	t.node(c).limit = shaping.Limit{}
	delete(t.stale, c)
	t.pool.release(s)
	return nil
}

func (t *Tree) claimed(c Class) (*slot, error) {
	if s := t.pool.get(c); s != nil && s.claimed {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %v is not claimed", ErrNoClass, c)
}

// isStale notes a claimed class whose queue is not what it is to be.
func (t *Tree) isStale(c Class) {
	for device := range t.config.Devices {
		if _, queue := t.want(device, c); queue.kind != queueNone && queue != t.node(c).sides[device].queue {
			t.stale[c] = struct{}{}
		}
	}
}

// freshen brings some stale queues up to date.
func (t *Tree) freshen(ctx context.Context, some int) error {
	for c := range t.stale {
		if some--; some < 0 {
			return nil
		}
		if err := t.put(ctx, c); err != nil {
			return err
		}
		delete(t.stale, c)
	}
	return nil
}
