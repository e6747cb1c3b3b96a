package ipam

import (
	"slices"
	"time"
)

// quarantine is the queue of slots that rest, in the order of their release. Times are those of the pool's clock.
type quarantine struct {
	slots   fifo[uint32]
	batches []batch // how the queue divides by the end of the rest, ascending
}

// batch is a run of slots whose rest ends together.
type batch struct {
	until time.Duration
	n     uint64
}

// push queues a slot that rests until then, or longer if the slot before it does.
func (q *quarantine) push(slot uint64, until time.Duration) {
	q.slots.push(uint32(slot)) // newLayout bounds slots by maxSlots
	if k := len(q.batches); k > 0 && q.batches[k-1].until >= until {
		q.batches[k-1].n++
		return
	}
	q.batches = append(q.batches, batch{until: until, n: 1})
}

// expire takes the slots whose rest is over and hands each to free.
func (q *quarantine) expire(at time.Duration, free func(slot uint64)) {
	over := 0
	for ; over < len(q.batches) && q.batches[over].until <= at; over++ {
		for range q.batches[over].n {
			free(uint64(q.slots.pop()))
		}
	}
	if over > 0 { // there are few batches, and moving them allocates nothing
		q.batches = slices.Delete(q.batches, 0, over)
	}
}

// first returns when the next slot is free; the queue must not be empty.
func (q *quarantine) first() time.Duration { return q.batches[0].until }

// last returns when every slot is free; the queue must not be empty.
func (q *quarantine) last() time.Duration { return q.batches[len(q.batches)-1].until }
