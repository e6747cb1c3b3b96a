package ipam

import "iter"

// fifoChunk is how many items a fifo allocates at once. With 4 bytes for an item, and the allocator's 8 for a large object
// with pointers, a part takes 4,096, which is a size class.
const fifoChunk = 1016

// fifo is a queue that gives memory back as it drains. The zero value is empty and ready.
type fifo[T any] struct {
	head, tail *fifoPart[T] // both nil until the first push
	n          uint64
}

type fifoPart[T any] struct {
	items    [fifoChunk]T
	from, to int // items[from:to] are queued
	next     *fifoPart[T]
}

func (q *fifo[T]) push(v T) {
	if q.tail == nil {
		q.head = new(fifoPart[T])
		q.tail = q.head
	} else if q.tail.to == fifoChunk {
		q.tail.next = new(fifoPart[T])
		q.tail = q.tail.next
	}
	q.tail.items[q.tail.to] = v
	q.tail.to++
	q.n++
}

// peek returns the oldest item without taking it; the queue must not be empty.
func (q *fifo[T]) peek() T { return q.head.items[q.head.from] }

// pop takes the oldest item; the queue must not be empty.
func (q *fifo[T]) pop() T {
	part := q.head
	v := part.items[part.from]
	part.from++
	q.n--
	switch {
	case part.from < part.to:
	case part.next != nil:
		q.head = part.next
	default:
		part.from, part.to = 0, 0 // the last part is kept, or a queue of one item would allocate at each push
	}
	return v
}

// all returns the items, oldest first.
func (q *fifo[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for part := q.head; part != nil; part = part.next {
			for _, v := range part.items[part.from:part.to] {
				if !yield(v) {
					return
				}
			}
		}
	}
}
