package htb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// restore fills an empty pool with what has the shape of a tree, and the same parent on all devices that have it.
func (t *Tree) restore(all []found) {
	for _, f := range all {
		switch {
		case f.fqCodels > 0:
			t.queueKind = queueFqCodel
		case f.tbfs > 0 && t.queueKind != queueFqCodel:
			t.queueKind = queueTbf
		}
	}
	parents := make([]Class, int(lastClass)+1)
	for _, f := range all {
		for c, seen := range f.classes {
			switch {
			case c < firstClass || c > lastClass:
			case parents[c] == 0 && seen.parent != 0:
				parents[c] = seen.parent
			case parents[c] != seen.parent || seen.parent == 0:
				parents[c] = math.MaxUint16 // at the top, or the devices disagree
			}
		}
	}
	// From high to low, so that low ones are claimed first; those below the root before those below them.
	for _, top := range []bool{true, false} {
		for c := lastClass; c >= firstClass && t.pool.size < t.pool.most; c-- {
			p := parents[c]
			if above := t.pool.get(p); top && p == rootClass || !top && above != nil && above.parent == rootClass {
				t.pool.restore(c, p)
			}
		}
	}
}

// stray is a class that is nobody's, or has another parent than it is to have.
type stray struct {
	device, depth int
	class         Class
}

// compare takes over what was found, and returns in words how it differs from what is claimed, what is to be deleted, and
// which classes to put again.
func (t *Tree) compare(all []found) (words []string, strays []stray, again []Class) {
	differs := make(map[Class]bool)
	for c := range t.pool.barred {
		t.pool.unbar(c)
	}
	for device, f := range all {
		say := func(format string, args ...any) {
			words = append(words, t.config.Devices[device].Name+": "+fmt.Sprintf(format, args...))
		}
		t.roots[device] = f.root
		if !f.root {
			say("the root qdisc is not there, nor what was below it")
		}
		for c, seen := range f.classes {
			s := t.pool.get(c)
			if c != rootClass && (s == nil || s.parent != seen.parent) {
				strays = append(strays, stray{device, f.depth(c), c})
				t.pool.bar(c)
			}
		}
		for c, n := range t.nodes {
			if n != nil {
				n.sides[device] = f.side(Class(c), t.pool)
			}
		}
		if t.check(device, rootClass, f.root, say) {
			differs[rootClass] = true
		}
		for i, s := range t.pool.slots {
			if c := Class(i); s != nil {
				t.node(c).sides[device] = f.side(c, t.pool)
				if s.claimed && t.check(device, c, f.root, say) {
					differs[c] = true
				}
			}
		}
	}
	for _, s := range strays {
		words = append(words, fmt.Sprintf("%s: class %v is not ours", t.config.Devices[s.device].Name, s.class))
	}
	t.forget()
	// Children before their parents.
	slices.SortFunc(strays, func(a, b stray) int {
		return cmp.Or(cmp.Compare(b.depth, a.depth), cmp.Compare(a.device, b.device), cmp.Compare(a.class, b.class))
	})
	for c := range differs {
		again = append(again, c)
	}
	slices.Sort(again)
	slices.Sort(words)
	return words, strays, again
}

// side returns what was found of a class where the pool has it.
func (f found) side(c Class, p *pool) side {
	seen := f.classes[c]
	if s := p.get(c); s != nil && s.parent != seen.parent {
		return side{}
	}
	return seen.side
}

func (f found) depth(c Class) int {
	depth := 0
	for range 8 { // TC_HTB_MAXDEPTH
		if c = f.classes[c].parent; c == 0 {
			break
		}
		depth++
	}
	return depth
}

// check reports that a class on a device is not what it is to be, and says how if its root is there.
func (t *Tree) check(device int, c Class, root bool, say func(string, ...any)) bool {
	class, queue := t.want(device, c)
	is := t.nodes[c].sides[device]
	differs := true
	switch {
	case !root:
	case !is.class.exists():
		say("class %v is not there", c)
	case is.class != class:
		say("class %v has other parameters", c)
	case queue.kind == queueNone:
		differs = false
	case is.queue.kind == queueNone:
		say("class %v has no queue of ours", c)
	case is.queue != queue:
		say("the queue of class %v has other parameters", c)
	default:
		differs = false
	}
	return differs
}

// forget takes free slots that no device has out of the pool, and tells it which others are whole.
func (t *Tree) forget() {
	for _, leaves := range []bool{true, false} {
		for i, s := range t.pool.slots {
			c := Class(i)
			if s == nil || (s.parent != rootClass) != leaves {
				continue
			}
			t.pool.setReady(c, t.isWhole(c))
			if !s.claimed && s.leaves == 0 && t.node(c).sides == [maxDevices]side{} {
				t.pool.forget(s)
				t.nodes[c] = nil
			}
		}
	}
}

// Sync reads the trees and mends what others changed: root qdiscs, classes and queues that are gone or have other parameters,
// and classes that are nobody's. It returns what it found in words, by device, and writes nothing if it found nothing. Free
// slots are no concern of it. An error says what could not be mended. It reads the classes each time, and their queues, which
// take the kernel several times as long, unless nobody has written a qdisc or class of the devices since it last did, this tree
// included. Others wait while it reads and deletes what is nobody's; while it mends they have their turn between one class and the
// next.
func (t *Tree) Sync(ctx context.Context) ([]string, error) {
	words, again, err := t.survey(ctx)
	errs := []error{err}
	for _, c := range again {
		if ctx.Err() != nil {
			break
		}
		errs = append(errs, t.withTurn(ctx, func() error {
			if s := t.pool.get(c); c != rootClass && (s == nil || !s.claimed) {
				return nil // released meanwhile
			}
			return t.put(ctx, c)
		}))
	}
	errs = append(errs, t.withTurn(ctx, func() error {
		t.arouse()
		return nil
	}))
	return words, errors.Join(errs...)
}

// survey reads and compares the trees, and deletes strays before anyone can want their class ids.
func (t *Tree) survey(ctx context.Context) (words []string, again []Class, err error) {
	if err := t.enterRooted(ctx); err != nil {
		return nil, nil, err
	}
	defer t.leave()
	// What is only late is not worth a word. What fails here is found again.
	if err := t.freshen(ctx, len(t.stale)); err != nil {
		t.log.Debug("cannot bring all queues up to date before a sync", "error", err)
	}
	all, err := t.lookAgain()
	if err != nil {
		return nil, nil, err
	}
	clear(t.stale)
	words, strays, again := t.compare(all)
	failed := make(map[Class]bool)
	var errs []error
	for _, s := range strays {
		err := ctx.Err()
		if err == nil {
			err = t.deleteClass(s.device, s.class)
		}
		if err != nil {
			failed[s.class] = true
			errs = append(errs, err)
		}
	}
	for _, s := range strays {
		if !failed[s.class] {
			t.pool.unbar(s.class)
		}
	}
	return words, again, errors.Join(errs...)
}

func (t *Tree) withTurn(ctx context.Context, fn func() error) error {
	if err := t.enter(ctx); err != nil {
		return err
	}
	defer t.leave()
	return fn()
}
