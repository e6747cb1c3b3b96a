package htb

import (
	"fmt"
	"slices"
)

// found is what a device has.
type found struct {
	root     bool // the root qdisc is ours
	classes  map[Class]foundClass
	tbfs     int
	fqCodels int
}

type foundClass struct {
	parent Class // 0 for a class at the top, such as the root class
	side   side
}

// look reads what the kernel has, all of it.
func (t *Tree) look() ([]found, error) {
	all := t.nothing()
	queues := make([]map[uint32]queueParams, len(all))
	qdisc := func(device int, q seenQdisc) {
		f := &all[device]
		switch {
		case q.parent == noParent:
			f.root = q.kind == "htb" && q.handle == rootHandle && q.defaultClass == 0
			return
		case q.queue.kind == queueTbf:
			f.tbfs++
		case q.queue.kind == queueFqCodel:
			f.fqCodels++
		}
		if queues[device] == nil {
			queues[device] = make(map[uint32]queueParams)
		}
		if q.handle != queueHandle(Class(q.parent&0xffff)) {
			q.queue = queueParams{kind: queueForeign}
		}
		queues[device][q.parent] = q.queue
	}
	class := func(device int, c seenClass) { all[device].add(c, queues[device][c.id]) }
	if err := t.kernel.dump(t.config.Devices, qdisc, class); err != nil {
		return nil, fmt.Errorf("htb: read the trees: %w", err)
	}
	for i := range all {
		if !all[i].root {
			clear(all[i].classes) // they go when the root qdisc is replaced
		}
	}
	return all, nil
}

// lookAgain is look for who compares what is found, at once. While nobody has written anything since the last time, it reads
// the classes alone: their queues are what they were.
func (t *Tree) lookAgain() ([]found, error) {
	// Before the reading: what comes meanwhile is the next one's to hear.
	changed, err := t.kernel.changed(t.config.Devices)
	if err != nil {
		return nil, fmt.Errorf("htb: %w", err)
	}
	asRead := t.asRead && !changed
	t.asRead = false
	if asRead {
		all, err := t.lookAtClasses()
		if err != nil {
			return nil, err
		}
		// Without its class the root qdisc is not ours any more.
		if asRead = !slices.ContainsFunc(all, func(f found) bool { return !f.root }); asRead {
			t.asRead = true
			return all, nil
		}
	}
	all, err := t.look()
	t.asRead = err == nil
	return all, err
}

// lookAtClasses reads the classes, and takes for their queues those that were there, if they still have them.
func (t *Tree) lookAtClasses() ([]found, error) {
	all := t.nothing()
	class := func(device int, c seenClass) {
		minor := Class(c.id & 0xffff)
		var queue queueParams
		switch n := t.nodes[minor]; {
		case c.queue == 0:
		case c.queue != queueHandle(minor) || n == nil:
			queue.kind = queueForeign
		default:
			queue = n.sides[device].queue
		}
		all[device].add(c, queue)
	}
	if err := t.kernel.dump(t.config.Devices, nil, class); err != nil {
		return nil, fmt.Errorf("htb: read the classes: %w", err)
	}
	for i := range all {
		_, rooted := all[i].classes[rootClass]
		all[i].root = t.roots[i] && rooted
	}
	return all, nil
}

// nothing is what devices have that have no tree.
func (t *Tree) nothing() []found {
	all := make([]found, len(t.config.Devices))
	for i := range all {
		all[i].classes = make(map[Class]foundClass, t.pool.size+1)
	}
	return all
}

func (f *found) add(c seenClass, queue queueParams) {
	seen := foundClass{side: side{class: c.params, queue: queue}}
	if c.parent != noParent {
		seen.parent = Class(c.parent & 0xffff)
	}
	f.classes[Class(c.id&0xffff)] = seen
}
