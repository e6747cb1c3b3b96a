package shaping

import "sync/atomic"

// Leaf is the end of a hierarchy: what one peer's packets wait in for tokens. Its methods are safe for concurrent use; the
// order of a flow is that of the calls.
type Leaf struct {
	id      string
	group   atomic.Pointer[group]
	limited atomic.Bool
	busy    atomic.Bool // has packets queued

	// Guarded by the mutex of the group that the leaf is in.
	bucket     bucket
	slot       int64      // how long one and a half packets take at the ceiling, in ns
	limit      int64      // of the queue at the ceiling, in bytes
	queue      *flowTable // nil while nothing is queued
	packets    int64      // in the queue
	bytes      int64      // in the queue
	deficit    int64
	prev, next *Leaf // in group.ready
	nextHeld   *Leaf
	timer      timer[*Leaf]
	flight     uint64 // the group's batch that the last packet left in
	sent       tally
	dropped    tally
	place      place
	isHeld     bool // another group's Output still has packets of this leaf
	removed    bool

	// Guarded by Scheduler.mu.
	rate   Rate
	parent string // name of the group, empty for a group of the leaf's own
}

// place says where in its group a leaf is.
type place uint8

const (
	placeIdle place = iota
	placeReady
	placeWaiting
)

// LeafStats are a leaf's counters since it was made.
type LeafStats struct {
	// SentPackets and SentBytes were handed to Output.
	SentPackets, SentBytes uint64
	// DroppedPackets and DroppedBytes were dropped by CoDel, for a bound, or with a leaf that was removed.
	DroppedPackets, DroppedBytes uint64
	// BacklogPackets and BacklogBytes are queued now.
	BacklogPackets, BacklogBytes uint64
}

// ID returns the name that the leaf was made under.
func (l *Leaf) ID() string { return l.id }

// lock locks the leaf's group, whichever that is by then.
func (l *Leaf) lock() *group {
	for {
		g := l.group.Load()
		g.mu.Lock()
		if l.group.Load() == g {
			return g
		}
		g.mu.Unlock()
	}
}

// Enqueue takes packets over and sends each on as soon as the limits allow: now, through Output, if nothing waits and there
// are tokens, else when its turn comes. It does not wait for tokens. It may find itself handing on what others enqueue to
// the same group meanwhile, a bounded number of batches. When there is no room, the flow that took most of it loses packets;
// and all that come for a leaf that was removed, or while the scheduler does not run, are dropped. Drops are counted.
func (l *Leaf) Enqueue(packets ...*Packet) {
	if len(packets) == 0 {
		return
	}
	g := l.lock()
	s := g.sched
	if l.removed || !s.running() {
		for _, p := range packets {
			l.dropped.free(p)
		}
		g.mu.Unlock()
		return
	}
	at := s.moment()
	if !g.cutsThrough(l, at) {
		// Who waits already has the pacer look at the group in time; to be early for each packet would cost a wake-up each.
		covered := g.ready.head != nil || l.queue != nil
		if l.push(g, packets, at); !covered {
			g.settle(at, false)
		}
		g.mu.Unlock()
		return
	}
	b := s.getBatch()
	if n := g.cutThrough(l, b, packets, at); n < len(packets) {
		l.push(g, packets[n:], at)
	}
	g.drain(b, at)
	s.batches.Put(b)
}

// cutsThrough reports whether a packet of l may leave without having been queued, as far as the group is concerned: no one
// of the group waits for what the packet needs.
func (g *group) cutsThrough(l *Leaf, at moment) bool {
	return !g.draining && !g.queued && g.ready.head == nil && l.queue == nil && !l.isHeld &&
		l.bucket.ready(at) && g.bucket.ready(at)
}

// cutThrough moves packets straight to b while tokens last, and returns how many it dealt with.
func (g *group) cutThrough(l *Leaf, b *batch, packets []*Packet, at moment) int {
	packets = packets[:min(len(packets), batchSize)]
	want := int64(0)
	for _, p := range packets {
		want += int64(len(p.Data))
	}
	allow, charged := g.sched.root.borrow(want, at)
	n := 0
	for ; n < len(packets) && allow > 0 && l.bucket.open() && g.bucket.open(); n++ {
		p := packets[n]
		if !validSize(p) {
			l.dropped.free(p)
			continue
		}
		g.charge(l, len(p.Data))
		allow -= int64(len(p.Data))
		b.add(p)
	}
	if charged {
		g.sched.root.repay(allow)
	}
	return n
}

// Take lets packets pass that are not the scheduler's, where nothing waits and there are tokens: of those of the given sizes, 1 to
// 65,535 bytes each, as many from the first one on as it returns, 128 at most. They are counted as sent, and the caller's to send, in
// order, before it enqueues what is left or calls again. It spares who has the bytes in a buffer of its own a copy of them.
func (l *Leaf) Take(sizes []int) int {
	g := l.lock()
	defer g.mu.Unlock()
	s := g.sched
	if l.removed || !s.running() {
		return 0
	}
	at := s.moment()
	if !g.cutsThrough(l, at) {
		return 0
	}
	sizes = sizes[:min(len(sizes), batchSize)]
	want := int64(0)
	for _, size := range sizes {
		want += int64(size)
	}
	allow, charged := s.root.borrow(want, at)
	n := 0
	for ; n < len(sizes) && allow > 0 && l.bucket.open() && g.bucket.open(); n++ {
		g.charge(l, sizes[n])
		allow -= int64(sizes[n])
	}
	if charged {
		s.root.repay(allow)
	}
	return n
}

// charge accounts for a packet of so many bytes that is about to be sent.
func (g *group) charge(l *Leaf, size int) {
	l.bucket.take(int64(size))
	g.bucket.take(int64(size))
	l.sent.count(size)
	l.flight = g.flight
}

// validSize refuses what is no IP packet.
func validSize(p *Packet) bool { return len(p.Data) > 0 && len(p.Data) <= maxMTU }

// Unshaped reports, without a lock, that nothing limits the leaf (not itself, its group or the root) and nothing is queued:
// the caller may send a packet past the scheduler, which then does not count it. The packets of the last moment before may
// still be on their way through Output. It is false for a leaf that was removed.
func (l *Leaf) Unshaped() bool {
	if l.busy.Load() {
		return false
	}
	g := l.group.Load()
	// Read again, since a leaf that changes group and limit at once is never without both.
	return !g.limited.Load() && !l.limited.Load() && !g.sched.root.limited.Load() && l.group.Load() == g
}

// Idle reports that nothing of the leaf is queued or on its way through Output, and that it has all the tokens that it can save:
// one that is removed and made anew would shape the same, and only its counters begin at zero.
func (l *Leaf) Idle() bool {
	g := l.lock()
	defer g.mu.Unlock()
	if l.queue != nil || l.isHeld || g.draining && l.flight == g.flight {
		return false
	}
	l.bucket.refill(g.sched.moment())
	return l.bucket.full()
}

// Stats returns the leaf's counters.
func (l *Leaf) Stats() LeafStats {
	g := l.lock()
	defer g.mu.Unlock()
	return LeafStats{
		SentPackets: l.sent.packets, SentBytes: l.sent.bytes,
		DroppedPackets: l.dropped.packets, DroppedBytes: l.dropped.bytes,
		BacklogPackets: uint64(l.packets), BacklogBytes: uint64(l.bytes),
	}
}
