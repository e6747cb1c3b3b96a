package shaping

import (
	"sync"
	"sync/atomic"
)

// group is what shares one lock: the leaves of an account under their common ceiling, or a single leaf without an account.
//
// While it has a backlog, a group is in exactly one of these states, so that it is always someone's business to go on:
//
//	draining   a goroutine, in Enqueue or the pacer, hands packets to Output and will look again
//	queued     it waits in the root's ring for the pacer to give it a turn
//	armed      the pacer will look at it at a time
type group struct {
	sched   *Scheduler
	limited atomic.Bool

	mu       sync.Mutex
	bucket   bucket
	slot     int64         // how long one and a half packets take at the ceiling, in ns
	queue    int64         // bound of a leaf's queue at the ceiling, in bytes
	ready    leafRing      // leaves with a backlog and tokens of their own, in turns
	waiting  timers[*Leaf] // leaves with a backlog that wait for tokens of their own
	armed    int64         // when the pacer will look, 0 if it will not
	flight   uint64        // number of the batch that is, or will next be, with Output
	held     *Leaf         // leaves that left with packets in flight, by Leaf.nextHeld
	idle     chan struct{} // closed when draining ends; nil unless Close waits
	memory   int64         // change of what is queued that Scheduler.memory has not been told
	draining bool
	queued   bool

	timer timer[*group] // guarded by pacer.mu

	// Guarded by root.mu.
	next    *group
	deficit int64

	// Guarded by Scheduler.mu.
	rate   Rate
	leaves int
}

func (s *Scheduler) newGroup(rate Rate) *group {
	g := &group{sched: s, flight: 1} // 0 is a leaf's that has sent nothing
	g.timer.owner = g
	g.set(rate)
	return g
}

// set changes the group's limit. Whoever waits for tokens is looked at again at once.
func (g *group) set(rate Rate) {
	s := g.sched
	params := s.planner.Group(rate)
	g.rate = rate
	g.mu.Lock()
	defer g.mu.Unlock()
	at := s.moment()
	g.bucket.set(params, at)
	g.slot, g.queue = slotOf(s.planner, params), int64(s.planner.queueBytes(params.Ceil))
	g.limited.Store(params.Ceil < MaxRate)
	g.settle(at, false)
}

// slotOf is the slot of a class that has a limit.
func slotOf(p *Planner, params Params) int64 {
	if params.Ceil >= MaxRate {
		return 0
	}
	return int64(p.slot(params.Ceil))
}

// collect moves packets that may leave now to b, within allow bytes and one packet, and returns what is left of allow.
func (g *group) collect(b *batch, at moment, allow int64) int64 {
	g.wake(at)
	g.bucket.refillWaiting(at)
	for g.ready.head != nil && !b.full() && allow > 0 && g.bucket.open() {
		l := g.ready.head
		switch l.bucket.refillWaiting(at); {
		case !l.bucket.open():
			g.leave(l)
			g.park(l)
			continue
		case l.deficit <= 0:
			l.deficit += g.sched.quantum
			g.ready.rotate()
			continue
		}
		if p := l.pop(g, at.now); p != nil {
			g.charge(l, len(p.Data))
			l.deficit -= int64(len(p.Data))
			allow -= int64(len(p.Data))
			b.add(p)
		}
		if l.packets == 0 {
			g.leave(l)
			l.rest(g.sched)
		} else if !l.bucket.open() {
			g.leave(l)
			g.park(l)
		} else if l.deficit <= 0 {
			l.deficit += g.sched.quantum // its turn is over, before anyone else comes
			g.ready.rotate()
		}
	}
	g.report()
	return allow
}

// wake gives a turn to the leaves whose tokens have come.
func (g *group) wake(at moment) {
	for g.waiting.next() <= at.now {
		l := g.waiting.pop()
		l.bucket.refillWaiting(at)
		g.enter(l, at)
	}
}

// enter puts a leaf with a backlog where it belongs.
func (g *group) enter(l *Leaf, at moment) {
	if !l.bucket.ready(at) {
		g.park(l)
		return
	}
	l.deficit = min(l.deficit, 0) + g.sched.quantum
	l.place = placeReady
	g.ready.append(l)
}

// park lets a leaf wait for its own tokens.
func (g *group) park(l *Leaf) {
	l.place = placeWaiting
	g.waiting.set(&l.timer, l.bucket.opensAt())
}

// leave takes a leaf from where it is, with its queue.
func (g *group) leave(l *Leaf) {
	switch l.place {
	case placeReady:
		g.ready.remove(l)
	case placeWaiting:
		g.waiting.remove(&l.timer)
	}
	l.place = placeIdle
}

// settle decides who goes on with the backlog, unless that is decided already. resume is set after a turn of the root's.
func (g *group) settle(at moment, resume bool) {
	if g.draining || g.queued {
		return
	}
	next := g.waiting.next()
	if g.ready.head != nil {
		next = at.now
	} else if next == never {
		g.bucket.trim()
		return
	}
	if !g.bucket.ready(at) {
		next = max(next, g.bucket.opensAt())
	}
	switch {
	case next > at.now:
		g.arm(tickAfter(next))
	case g.sched.root.limited.Load():
		g.queued = true
		g.sched.root.join(g, at, resume)
	default:
		g.arm(at.now) // and not when the tokens came, or the pacer would take itself to be late by that
	}
}

// arm makes the pacer look at the group at a time, or before.
func (g *group) arm(at int64) {
	if g.armed == 0 || at < g.armed {
		g.armed = at
		g.sched.pacer.arm(g, at)
	}
}

// drained returns a channel that is closed when Output has returned, or nil if it is not running.
func (g *group) drained() <-chan struct{} {
	if g.draining && g.idle == nil {
		g.idle = make(chan struct{})
	}
	return g.idle
}

// report tells the scheduler how much more or less is queued; once for many packets, since all leaves share that number.
func (g *group) report() {
	if g.memory != 0 {
		g.sched.memory.queued.Add(g.memory)
		g.memory = 0
	}
}

// backlogged is how many leaves share the group's tokens.
func (g *group) backlogged() int64 { return int64(g.ready.n + len(g.waiting.entries)) }

// leafRing is a list of leaves that take turns.
type leafRing struct {
	head, tail *Leaf
	n          int
}

func (r *leafRing) append(l *Leaf) {
	l.prev, l.next = r.tail, nil
	if r.tail == nil {
		r.head = l
	} else {
		r.tail.next = l
	}
	r.tail = l
	r.n++
}

func (r *leafRing) remove(l *Leaf) {
	if l.prev == nil {
		r.head = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		r.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
	r.n--
}

func (r *leafRing) rotate() {
	if l := r.head; l != r.tail {
		r.remove(l)
		r.append(l)
	}
}
