package wgnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/spell"
)

const (
	// failingGrace is how long the dataplane may fail before that is a problem: what somebody takes away while it is looked at is
	// made anew at once.
	failingGrace = time.Second
	// contestedRest is how long nothing has to be mended until a row of repairs is over; contestedTimes how many make a problem.
	// What comes in less than contestedApart is one: an address that the host gets or loses, or a firewall that is reloaded, has
	// the tables mended too, a few times in a row.
	contestedRest  = 10 * time.Minute
	contestedApart = time.Minute
	contestedTimes = 3
	// clockBound is how far the clock may get from the monotonic one between two looks: much more than NTP slews (500 ppm,
	// adjtimex(2)), or a leap second.
	clockBound = 5 * time.Second
	// clockRest is how long a clock that was set is a problem.
	clockRest = time.Hour
)

// health keeps what is wrong with a node, and since when. It tells of each beginning and each end.
type health struct {
	log    *slog.Logger
	events *hub

	mu       sync.Mutex
	problems map[ProblemKind]HealthProblem

	// Who holds the node's slot owns what follows.

	// told are the kinds that the dataplane told of last.
	told []ProblemKind
	// unsynced and unread are why the dataplane could not be synced, and not be asked, the last time; failing is since when.
	unsynced, unread error
	failing          time.Time
	repairs          spell.Spell
	repairedAt       time.Time // when repairs were last counted
	lastRepair       string
	clock            clockWatch
	handshakes       handshakeWatch
}

// clockWatch compares the wall clock with the monotonic one.
type clockWatch struct {
	// wall is the clock on the wall at a moment; a test may set it.
	wall func(time.Time) time.Time
	// mono and at are one moment by both clocks: when they were last compared.
	mono, at time.Time
	jumps    spell.Spell
	last     time.Duration
	// stored is the last time that the store knew of at the start; started is when that was.
	stored, started time.Time
}

func newHealth(log *slog.Logger, events *hub) *health {
	return &health{log: log, events: events, problems: make(map[ProblemKind]HealthProblem), clock: clockWatch{wall: wallClock}}
}

// list returns the problems there are, by kind.
func (h *health) list() []HealthProblem {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]HealthProblem, 0, len(h.problems))
	for _, p := range h.problems {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b HealthProblem) int { return int(a.Kind) - int(b.Kind) })
	return list
}

// has notes that there is a problem. One that there is already keeps its beginning, whatever is said of that now. A zero Since
// is now.
func (h *health) has(p HealthProblem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.problems[p.Kind]
	switch {
	case ok:
		p.Since = old.Since
	case p.Since.IsZero():
		p.Since = time.Now()
	}
	p.Since = wallClock(p.Since)
	h.problems[p.Kind] = p
	if !ok {
		h.log.Error("problem", "kind", p.Kind, "what", p.What, "since", p.Since)
		h.events.publish(Event{Kind: ProblemBegan, Problem: p})
	}
}

// lacks notes that there is no problem of some kinds.
func (h *health) lacks(kinds ...ProblemKind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, kind := range kinds {
		if p, ok := h.problems[kind]; ok {
			delete(h.problems, kind)
			h.log.Info("problem is over", "kind", kind, "since", p.Since)
			h.events.publish(Event{Kind: ProblemOver, Problem: p})
		}
	}
}

// stored notes how a commit went. A caller who gave up says nothing about the store.
func (h *health) stored(ctx context.Context, err error) {
	switch {
	case err == nil:
		h.lacks(StoreFailing)
	case !errors.Is(ctx.Err(), context.Canceled):
		h.has(HealthProblem{Kind: StoreFailing, What: fmt.Sprintf("what changes and what is used is not stored, and would be lost if the node "+
			"ended now: %v; see that the disk has room, works, and can be written to: the node goes on trying", err)})
	}
}

// synced notes how a sync went.
func (h *health) synced(err error) { h.dataplane(err, h.unread) }

// logged notes how the usage log was written the last time.
func (h *health) logged(err error) {
	if err == nil {
		h.lacks(UsageLogFailing)
		return
	}
	h.has(HealthProblem{Kind: UsageLogFailing, What: fmt.Sprintf("what is used over time is not logged: %v; see that the disk has room, works, "+
		"and can be written to: the node goes on trying, and nothing is lost while it runs", err)})
}

// dataplane notes how syncing with the dataplane, and reading it, went the last time.
func (h *health) dataplane(unsynced, unread error) {
	h.unsynced, h.unread = unsynced, unread
	switch {
	case unsynced == nil && unread == nil:
		h.failing = time.Time{}
		h.lacks(DataplaneFailing)
	case h.failing.IsZero():
		h.failing = time.Now()
	}
}

func (h *health) lookAtDataplane(now time.Time) {
	if h.failing.IsZero() || now.Sub(h.failing) < failingGrace {
		return
	}
	what := fmt.Sprintf("the dataplane cannot be asked: %v; the node goes on trying", h.unread)
	if h.unsynced != nil {
		what = fmt.Sprintf("the dataplane is not as it should be, and cannot be mended: %v; the node goes on trying", h.unsynced)
	}
	h.has(HealthProblem{Kind: DataplaneFailing, What: what, Since: h.failing})
}

// repaired notes that the dataplane was mended.
func (h *health) repaired(repairs []Repair) {
	if len(repairs) == 0 {
		return
	}
	h.lastRepair = repairs[0].What
	if now := time.Now(); h.repairedAt.IsZero() || now.Sub(h.repairedAt) >= contestedApart {
		h.repairedAt = now
		h.repairs.Note(now, contestedRest)
	}
}

// heard takes over what the dataplane says is wrong.
func (h *health) heard(problems []HealthProblem) {
	var over []ProblemKind
	for _, kind := range h.told {
		if !slices.ContainsFunc(problems, func(p HealthProblem) bool { return p.Kind == kind }) {
			over = append(over, kind)
		}
	}
	h.lacks(over...)
	h.told = h.told[:0]
	for _, p := range problems {
		h.has(p)
		h.told = append(h.told, p.Kind)
	}
}

// begin notes the start of a node whose store knows of a time.
func (h *health) begin(now, stored time.Time) {
	h.clock.mono, h.clock.at = now, h.clock.wall(now)
	h.clock.stored, h.clock.started = stored, now
}

// look finds what shows with time alone.
func (h *health) look(now time.Time) {
	if since, n := h.repairs.At(now, contestedRest); n >= contestedTimes {
		h.has(HealthProblem{Kind: InterfaceContested, Since: since, What: fmt.Sprintf("what is the node's was mended again and again, "+
			"in %d different minutes since %s, the last time: %s; find what else changes it (a firewall's service, a network manager, a script) and have that leave it alone",
			n, wallClock(since).Format(time.RFC3339), h.lastRepair)})
	} else {
		h.lacks(InterfaceContested)
	}
	h.lookAtDataplane(now)
	h.lookAtClock(now)
}

func (h *health) lookAtClock(now time.Time) {
	c := &h.clock
	at := c.wall(now)
	if jump := at.Sub(c.at) - now.Sub(c.mono); jump.Abs() > clockBound {
		c.jumps.Note(now, clockRest)
		c.last = jump
	}
	c.mono, c.at = now, at
	if since, n := c.jumps.At(now, clockRest); n > 0 {
		direction := "forward"
		if c.last < 0 {
			direction = "back"
		}
		h.has(HealthProblem{Kind: ClockJumped, Since: since, What: fmt.Sprintf("the clock was set %s by %v, or this machine stood still: expiries and "+
			"periods of data caps go by the clock; keep it right with NTP", direction, c.last.Abs().Round(time.Second))})
	} else {
		h.lacks(ClockJumped)
	}
	if at.Before(c.stored) {
		h.has(HealthProblem{Kind: ClockBehind, Since: c.started, What: fmt.Sprintf("the clock says %s, and something was stored at %s: expiries and "+
			"periods of data caps come too late; set the clock, and keep it right with NTP", at.Format(time.RFC3339), c.stored.Format(time.RFC3339))})
	} else {
		h.lacks(ClockBehind)
	}
}
