package kernel

import (
	"fmt"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/spell"
	"github.com/waylume/waylume/wgnode"
)

const (
	// hearingRest is how long no event must have been lost until that is a problem no more.
	hearingRest = 10 * time.Minute
	// eventDelay is how late the event of a quota may come that was found without it.
	eventDelay = 5 * time.Second
)

// hearing knows whether the kernel's events of quotas are heard.
type hearing struct {
	rest time.Duration

	mu sync.Mutex
	// lost counts overflows of the socket, and missed quotas of which no event came.
	lost, missed spell.Spell
	// unsaid are quotas that were found to be used up, and when, while the event may be on its way.
	unsaid map[string]time.Time
}

func newHearing() *hearing { return &hearing{rest: hearingRest, unsaid: make(map[string]time.Time)} }

// overflow notes that the kernel had more to say than could be kept.
func (h *hearing) overflow(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost.Note(now, h.rest)
}

// said notes that the event of a quota came.
func (h *hearing) said(object string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unsaid, object)
}

// found notes that a quota was found to be used up.
func (h *hearing) found(object string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settleLocked(now)
	h.unsaid[object] = now
}

// settleLocked gives up on events that are too late.
func (h *hearing) settleLocked(now time.Time) {
	for object, at := range h.unsaid {
		if now.Sub(at) >= eventDelay {
			delete(h.unsaid, object)
			h.missed.Note(at, h.rest)
		}
	}
}

// problems is what Stats tells.
func (h *hearing) problems(now time.Time) []wgnode.HealthProblem {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settleLocked(now)
	overflowed, overflows := h.lost.At(now, h.rest)
	silent, missed := h.missed.At(now, h.rest)
	since := overflowed
	if overflows == 0 || missed > 0 && silent.Before(since) {
		since = silent
	}
	if overflows+missed == 0 {
		return nil
	}
	return []wgnode.HealthProblem{{Kind: wgnode.QuotaEventsLost, Since: since, What: fmt.Sprintf("the kernel's events overflowed %d times, "+
		"and %d quotas were found to be used up of which none came: throttles, and caps of both directions in that which did not use "+
		"them up, may take hold up to %v late; find what changes nftables so often, or keeps this process from the CPU", overflows, missed, poll)}}
}
