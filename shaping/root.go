package shaping

import (
	"math"
	"sync"
	"sync/atomic"
)

// root is the ceiling over all groups. While it has no limit nothing here is locked. Under a limit, a group that finds no
// tokens, or others waiting before it, joins a ring; the pacer lends to those in the ring in turns.
type root struct {
	sched   *Scheduler
	limited atomic.Bool
	at      atomic.Int64 // when the pacer is to look at the ring
	waiting atomic.Int64 // groups in the ring
	slot    atomic.Int64 // how long one and a half packets take, in ns
	queue   atomic.Int64 // bound of a leaf's queue at the ceiling, in bytes

	mu         sync.Mutex
	bucket     bucket
	head, tail *group
	turn       int64 // bytes that each group may send in its turn
}

func (r *root) init(s *Scheduler) {
	r.sched, r.turn = s, s.quantum
	r.at.Store(never)
	r.set(s.planner.Root(Unlimited), moment{})
}

func (r *root) set(params Params, at moment) {
	r.mu.Lock()
	r.bucket.set(params, at)
	if r.head != nil {
		r.at.Store(at.now)
	}
	r.mu.Unlock()
	r.limited.Store(params.Ceil < MaxRate)
	r.slot.Store(slotOf(r.sched.planner, params))
	r.queue.Store(int64(r.sched.planner.queueBytes(params.Ceil)))
	r.sched.pacer.wakeBy(at.now)
}

// borrow charges up to want bytes in advance, and returns how many: none while others wait. While the root has no limit it
// grants any number, and charges nothing that would have to be repaid.
func (r *root) borrow(want int64, at moment) (granted int64, charged bool) {
	if !r.limited.Load() {
		return math.MaxInt64, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head != nil || !r.bucket.ready(at) {
		return 0, true
	}
	granted = min(want, r.bucket.bytes())
	r.bucket.take(granted)
	return granted, true
}

// repay gives back what was borrowed and not sent; negative for what was sent beyond it.
func (r *root) repay(rest int64) {
	if rest == 0 {
		return
	}
	r.mu.Lock()
	r.bucket.take(-rest)
	r.mu.Unlock()
}

// join puts a group in the ring: at the end, or to the front if its turn was cut short for want of tokens.
func (r *root) join(g *group, at moment, resume bool) {
	r.mu.Lock()
	first := r.head == nil
	if first && !resume {
		r.bucket.refill(at)
	} else {
		r.bucket.refillWaiting(at)
	}
	if resume && g.deficit > 0 {
		if g.next = r.head; first {
			r.tail = g
		}
		r.head = g
	} else {
		g.deficit = min(g.deficit, 0) + r.turn
		r.append(g)
	}
	r.waiting.Add(1)
	next := at.now
	if !r.bucket.open() {
		next = tickAfter(r.bucket.opensAt())
	}
	if first {
		r.at.Store(next)
	}
	r.mu.Unlock()
	if first {
		r.sched.pacer.wakeBy(next)
	}
}

func (r *root) append(g *group) {
	if g.next = nil; r.head == nil {
		r.head = g
	} else {
		r.tail.next = g
	}
	r.tail = g
}

// begin opens a round of turns. Turns are longer when there are more tokens than one quantum for each who waits, which saves
// the pacer work and shares no less equally: all have the same turn.
func (r *root) begin(at moment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head == nil {
		r.bucket.trim()
		return
	}
	r.bucket.refillWaiting(at)
	r.turn = min(max(r.sched.quantum, r.bucket.bytes()/r.waiting.Load()), maxTurn)
}

// take takes the group whose turn it is out of the ring, with what it may send; nil when no one waits or no tokens are left.
func (r *root) take(at moment) (*group, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head == nil {
		r.at.Store(never)
		return nil, 0
	}
	if r.bucket.refillWaiting(at); !r.bucket.open() {
		r.at.Store(tickAfter(r.bucket.opensAt()))
		return nil, 0
	}
	for {
		g := r.head
		if r.head = g.next; r.head == nil {
			r.tail = nil
		}
		if g.deficit <= 0 {
			g.deficit += r.turn
			r.append(g)
			continue
		}
		g.next = nil
		r.waiting.Add(-1)
		granted := min(g.deficit, r.bucket.bytes())
		r.bucket.take(granted)
		return g, granted
	}
}

// settle ends a turn's borrowing, before what it took is sent.
func (r *root) settle(g *group, granted, rest int64) {
	r.mu.Lock()
	r.bucket.take(-rest)
	g.deficit -= granted - rest
	r.mu.Unlock()
}
