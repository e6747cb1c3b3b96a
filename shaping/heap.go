package shaping

// timer is a place in a [timers] heap for something that waits. The zero value is not in one.
type timer[T any] struct {
	owner T
	index int32 // in the heap plus one; 0 is none
}

// timers is a binary heap of timers by time. container/heap would do, at the cost of an interface call for each comparison
// and an allocation for each push.
type timers[T any] struct {
	entries []timerEntry[T]
}

type timerEntry[T any] struct {
	at    int64
	timer *timer[T]
}

// next returns the earliest time, or never.
func (h *timers[T]) next() int64 {
	if len(h.entries) == 0 {
		return never
	}
	return h.entries[0].at
}

// set puts a timer in the heap, or moves it to another time.
func (h *timers[T]) set(t *timer[T], at int64) {
	if t.index == 0 {
		h.entries = append(h.entries, timerEntry[T]{at, t})
		t.index = int32(len(h.entries))
	} else {
		h.entries[t.index-1].at = at
	}
	h.down(h.up(int(t.index) - 1))
}

// pop takes the earliest timer; the heap must not be empty.
func (h *timers[T]) pop() T {
	first := h.entries[0].timer
	h.remove(first)
	return first.owner
}

// remove takes a timer out; one that is not in is left alone.
func (h *timers[T]) remove(t *timer[T]) {
	if t.index == 0 {
		return
	}
	i, last := int(t.index)-1, len(h.entries)-1
	t.index = 0
	if i != last {
		h.place(i, h.entries[last])
	}
	h.entries[last] = timerEntry[T]{}
	h.entries = h.entries[:last]
	if i != last {
		h.down(h.up(i))
	}
}

func (h *timers[T]) place(i int, e timerEntry[T]) {
	h.entries[i] = e
	e.timer.index = int32(i + 1)
}

func (h *timers[T]) up(i int) int {
	e := h.entries[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h.entries[parent].at <= e.at {
			break
		}
		h.place(i, h.entries[parent])
		i = parent
	}
	h.place(i, e)
	return i
}

func (h *timers[T]) down(i int) {
	e := h.entries[i]
	for {
		child := 2*i + 1
		if child >= len(h.entries) {
			break
		}
		if right := child + 1; right < len(h.entries) && h.entries[right].at < h.entries[child].at {
			child = right
		}
		if h.entries[child].at >= e.at {
			break
		}
		h.place(i, h.entries[child])
		i = child
	}
	h.place(i, e)
}
