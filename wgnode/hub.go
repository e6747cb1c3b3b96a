package wgnode

import (
	"context"
	"iter"
	"sync"
	"time"
)

// hub keeps the last events in one ring that all readers share. A reader is no more than a place in the sequence, so that
// a slow one costs nothing, holds nobody up, and can tell exactly how much it missed; one that is dropped needs no closing.
type hub struct {
	mu     sync.Mutex
	ring   []Event // the event with sequence s is at (s-1) % len
	last   uint64  // sequence of the newest event; 0: none yet
	closed bool
	wake   chan struct{} // closed at the next publish; nil while nobody waits
	tally  eventTally
}

func newHub(size int) *hub { return &hub{ring: make([]Event, size)} }

// publish numbers, dates and keeps the events, in order.
func (h *hub) publish(events ...Event) {
	if len(events) == 0 {
		return
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for _, e := range events {
		e.Sequence, e.Time = h.last+1, now
		h.ring[h.last%uint64(len(h.ring))] = e
		h.last++
		h.tally.add(e)
	}
	h.wakeLocked()
}

// close ends the stream after what was published.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wakeLocked()
}

func (h *hub) wakeLocked() {
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// next returns the event after a place in the sequence, or a channel that is closed when there may be one.
func (h *hub) next(after uint64) (e Event, wait <-chan struct{}, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after >= h.last {
		if h.closed {
			return Event{}, nil, true
		}
		if h.wake == nil {
			h.wake = make(chan struct{})
		}
		return Event{}, h.wake, false
	}
	size := uint64(len(h.ring))
	if missed := h.last - after; missed > size {
		oldest := h.last - size + 1
		h.tally.missed += oldest - 1 - after
		return Event{
			Sequence: oldest - 1,
			Time:     h.ring[(oldest-1)%size].Time,
			Kind:     Missed,
			Count:    oldest - 1 - after,
		}, nil, false
	}
	return h.ring[after%size], nil, false
}

// Subscription is one reader's place in a node's events. It need not be closed. One goroutine may use it at a time.
type Subscription struct {
	hub   *hub
	after uint64
}

// Subscribe returns a subscription to the events from now on. It may be called in any state of the node: what is
// subscribed before Start sees all of it.
func (n *Node) Subscribe() *Subscription {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	return &Subscription{hub: n.events, after: n.events.last}
}

// SubscribeAfter returns a subscription that goes on after an event that was seen before, by its Sequence; 0 starts with
// the first event of the node's life. Events that are no longer kept are reported as [Missed]. A sequence that this node
// has not reached starts with the next event.
func (n *Node) SubscribeAfter(sequence uint64) *Subscription {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	return &Subscription{hub: n.events, after: min(sequence, n.events.last)}
}

// After is the sequence of the event that the subscription goes on after: of the last one that Next returned, or that
// there was when it was made.
func (s *Subscription) After() uint64 { return s.after }

// Next waits for the next event. A reader that fell behind by more than the node's event buffer gets one event of kind
// [Missed] with their count, in their place, and then the oldest that is kept. After [NodeClosed] it returns [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		e, wait, closed := s.hub.next(s.after)
		switch {
		case closed:
			return Event{}, ErrClosed
		case wait == nil:
			s.after = e.Sequence
			return e, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// All yields events until ctx is done or the node has closed.
func (s *Subscription) All(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			e, err := s.Next(ctx)
			if err != nil || !yield(e) {
				return
			}
		}
	}
}
