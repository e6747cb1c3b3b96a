package wgnode

import (
	"container/heap"
	"time"
)

// deadline is when an entity must be looked at; index -1: it is not in the heap.
type deadline struct {
	when   time.Time
	entity entity
	index  int
}

// after reports whether the entity is in the heap for a later time.
func (d *deadline) after(now time.Time) bool { return d != nil && d.index >= 0 && d.when.After(now) }

// deadlines holds the entities that have one, earliest first, so that one timer serves them all.
type deadlines struct{ heap deadlineHeap }

// set moves an entity's deadline; a zero time takes it out.
func (d *deadlines) set(e entity, when time.Time) {
	at := e.common().deadline
	if at == nil && !when.IsZero() {
		at = &deadline{index: -1}
		e.common().deadline = at
	}
	switch {
	case at == nil:
	case when.IsZero() && at.index < 0:
	case when.IsZero():
		heap.Remove(&d.heap, at.index)
	case at.index < 0:
		at.when, at.entity = when, e
		heap.Push(&d.heap, at)
	default:
		at.when = when
		heap.Fix(&d.heap, at.index)
	}
}

// earliest returns the first deadline; zero: there is none.
func (d *deadlines) earliest() time.Time {
	if len(d.heap) == 0 {
		return time.Time{}
	}
	return d.heap[0].when
}

// due returns up to limit entities whose deadline has come, and takes them out: whoever handles them sets the next one.
func (d *deadlines) due(now time.Time, limit int) []entity {
	var due []entity
	for len(d.heap) > 0 && !d.heap[0].when.After(now) && len(due) < limit {
		due = append(due, d.heap[0].entity)
		heap.Pop(&d.heap)
	}
	return due
}

// earlier returns the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

type deadlineHeap []*deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].when.Before(h[j].when) }
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *deadlineHeap) Push(x any) {
	d := x.(*deadline)
	d.index = len(*h)
	*h = append(*h, d)
}

func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.index, d.entity = -1, nil
	return d
}
