package htb

import (
	"context"
	"errors"
	"fmt"

	"github.com/florianl/go-tc"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/shaping"
)

// write carries out one request for a class.
func (t *Tree) write(op operation, o *tc.Object, device int, c Class) error {
	t.written.Add(1)
	t.asRead = false
	err := t.kernel.write(op, o)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("htb: device %s is gone; make it anew and open a new tree: %w", t.config.Devices[device].Name, err)
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL):
		return fmt.Errorf("htb: device %s, class %v: %w; if another program changed the tree, Sync mends it",
			t.config.Devices[device].Name, c, err)
	}
	return fmt.Errorf("htb: device %s, class %v: %w", t.config.Devices[device].Name, c, err)
}

func (t *Tree) ifindex(device int) uint32 { return uint32(t.config.Devices[device].Index) }

// node returns what is known of a class, made at need.
func (t *Tree) node(c Class) *node {
	if t.nodes[c] == nil {
		t.nodes[c] = &node{}
	}
	return t.nodes[c]
}

// want returns the parameters that a class is to have on a device. One that is no leaf has queueNone.
func (t *Tree) want(device int, c Class) (classParams, queueParams) {
	rate := t.config.Devices[device].Direction.of
	root := rate(t.nodes[rootClass].limit)
	planner := t.config.Planner
	if c == rootClass {
		return classOf(planner.Root(root)), queueParams{}
	}
	s := t.pool.get(c)
	limit := rate(t.node(c).limit)
	if s.group {
		return classOf(planner.Group(limit)), queueParams{}
	}
	group := shaping.Unlimited
	if s.parent != rootClass {
		group = rate(t.node(s.parent).limit)
	}
	params := planner.Leaf(limit, group, root)
	return classOf(params), queueOf(t.queueKind, params)
}

// put makes the kernel's class what it is to be on all devices, and says so to the pool. What is right already is not written.
func (t *Tree) put(ctx context.Context, c Class) error { return t.onAll(ctx, c, t.putOn) }

// putLimit is put without the queue.
func (t *Tree) putLimit(ctx context.Context, c Class) error { return t.onAll(ctx, c, t.putLimitOn) }

func (t *Tree) onAll(ctx context.Context, c Class, put func(device int, c Class) error) (err error) {
	for device := range t.config.Devices {
		if err = ctx.Err(); err == nil {
			err = put(device, c)
		}
		if err != nil {
			break
		}
	}
	t.pool.setReady(c, t.isWhole(c))
	return err
}

// isWhole reports that a class is there on all devices.
func (t *Tree) isWhole(c Class) bool {
	for device := range t.config.Devices {
		if !t.node(c).sides[device].class.isKnown() {
			return false
		}
	}
	return true
}

func (t *Tree) putOn(device int, c Class) error {
	if err := t.putLimitOn(device, c); err != nil || c == rootClass || t.pool.get(c).group {
		return err
	}
	_, queue := t.want(device, c)
	return t.putQueue(device, c, queue)
}

func (t *Tree) putLimitOn(device int, c Class) error {
	if !t.roots[device] {
		if err := t.putRoot(device); err != nil {
			return err
		}
	}
	parent := noParent
	if s := t.pool.get(c); s != nil {
		parent = classID(s.parent)
		if !t.node(s.parent).sides[device].class.isKnown() {
			if err := t.putOn(device, s.parent); err != nil {
				return err
			}
		}
	}
	class, _ := t.want(device, c)
	return t.putClass(device, c, parent, class)
}

// putRoot makes the root qdisc. What else was there is gone with it.
func (t *Tree) putRoot(device int) error {
	o := rootObject(t.ifindex(device))
	err := t.write(replaceQdisc, o, device, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EOPNOTSUPP) {
		// One that has our handle but is another cannot be changed into ours, only be replaced twice.
		err = t.replaceTwice(device, 0, noParent, o)
	}
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("the kernel lacks the HTB scheduler (CONFIG_NET_SCH_HTB): %w", err)
	}
	if err != nil {
		return err
	}
	for _, n := range t.nodes {
		if n != nil {
			n.sides[device] = side{}
		}
	}
	t.roots[device] = true
	return nil
}

// replaceTwice replaces a qdisc by one of the same handle: by way of another.
func (t *Tree) replaceTwice(device int, c Class, parent uint32, o *tc.Object) error {
	between := &tc.Object{Msg: tc.Msg{Ifindex: t.ifindex(device), Parent: parent}}
	between.Pfifo, between.Bfifo = &tc.FifoOpt{Limit: 100}, &tc.FifoOpt{Limit: superPacket}
	var errs []error
	// It must be of another kind, else the kernel changes the one that is there.
	for _, between.Kind = range []string{"pfifo", "bfifo"} {
		err := t.write(replaceQdisc, between, device, c)
		if err == nil {
			if err = t.write(replaceQdisc, o, device, c); err == nil {
				return nil
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (t *Tree) putClass(device int, c Class, parent uint32, want classParams) error {
	known := &t.node(c).sides[device]
	before := known.class
	if before == want {
		return nil
	}
	known.class = unknownClass()
	// A parent that had no leaf yet becomes an inner class, which has no queue.
	parentQueue := &queueParams{}
	if s := t.pool.get(c); s != nil {
		parentQueue = &t.node(s.parent).sides[device].queue
	}
	if !before.isKnown() && parentQueue.kind != queueNone {
		parentQueue.kind = queueUnknown
	}
	if err := t.write(replaceClass, want.object(t.ifindex(device), c, parent), device, c); err != nil {
		return err
	}
	known.class = want
	*parentQueue = queueParams{}
	switch before {
	case classParams{}:
		known.queue = queueParams{}
	case unknownClass():
		known.queue = queueParams{kind: queueUnknown}
	}
	return nil
}

func (t *Tree) putQueue(device int, c Class, want queueParams) error {
	if t.queueKind == queueNone {
		return t.firstQueue(device, c)
	}
	known := &t.node(c).sides[device].queue
	before := *known
	if before == want {
		return nil
	}
	*known = queueParams{kind: queueUnknown}
	index := t.ifindex(device)
	var err error
	switch {
	case before.kind == queueNone:
		err = t.write(addQdisc, want.object(index, c, true), device, c)
	case before.kind == queueForeign || before.kind != queueUnknown && (before.kind != want.kind || before.flows != want.flows):
		err = unix.EINVAL
	case before.kind != queueFqCodel && before.kind != queueUnknown && want.limit <= before.limit/2:
		// A plain queue keeps what it holds when its limit falls, and that would take seconds at the lower rate. A new one is empty.
		err = t.replaceTwice(device, c, classID(c), want.object(index, c, true))
	default:
		// The kernel finds it by its parent, at once; by the handle alone it would search one of 16 lists of all there are.
		// The handle keeps it from changing another that somebody put there.
		if err = t.write(changeQdisc, want.object(index, c, false), device, c); errors.Is(err, unix.ENOENT) {
			err = t.write(addQdisc, want.object(index, c, true), device, c)
		}
	}
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EINVAL) {
		err = t.replaceTwice(device, c, classID(c), want.object(index, c, true))
	}
	if err == nil {
		*known = want
	}
	return err
}

// firstQueue finds out whether the kernel has fq_codel, or else tbf.
func (t *Tree) firstQueue(device int, c Class) error {
	for _, kind := range []queueKind{queueFqCodel, queueTbf, queueBfifo} {
		t.queueKind = kind
		_, want := t.want(device, c)
		err := t.putQueue(device, c, want)
		if err == nil {
			return nil
		}
		t.queueKind = queueNone
		t.node(c).sides[device].queue = queueParams{kind: queueUnknown}
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		t.node(c).sides[device].queue = queueParams{}
	}
	return fmt.Errorf("htb: the kernel has neither fq_codel nor bfifo: %w", unix.ENOENT)
}

// remove deletes a free slot that has no leaves, to use its class id elsewhere.
func (t *Tree) remove(s *slot) error {
	for device := range t.config.Devices {
		known := &t.node(s.class).sides[device]
		if !known.class.exists() {
			continue
		}
		if err := t.deleteClass(device, s.class); err != nil {
			known.class = unknownClass()
			t.pool.setReady(s.class, false)
			return err
		}
		*known = side{}
	}
	t.nodes[s.class] = nil
	t.pool.forget(s)
	return nil
}

// deleteClass deletes a class, unless it is gone already.
func (t *Tree) deleteClass(device int, c Class) error {
	o := classParams{}.object(t.ifindex(device), c, 0) // go-tc wants options even here
	if err := t.write(deleteClass, o, device, c); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
