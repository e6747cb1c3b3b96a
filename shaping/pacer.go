package shaping

import (
	"sync"
	"time"
)

const (
	// tick is what the pacer rounds waking times up to, in ns: timers of the runtime are no finer (netpoll sleeps whole
	// milliseconds), and groups that wake together cost one wake-up. Tokens go on coming in meanwhile, so no rate is lost.
	tick = int64(time.Millisecond)
	// maxLate is how much of the pacer's lateness a class is made up for at once, in ns: what a queue holds by default.
	maxLate = int64(200 * time.Millisecond)
)

// tickAfter rounds a time up to a tick.
func tickAfter(at int64) int64 { return (at + tick - 1) / tick * tick }

// pacer is the one goroutine that wakes up for all who wait.
type pacer struct {
	stop chan struct{}
	wake chan struct{} // holds one
	done sync.WaitGroup

	began, counted int64 // of this pass, and how much of it has been counted as stalled; the goroutine's own

	mu     sync.Mutex
	timers timers[*group]
	until  int64 // when the goroutine wakes up by itself; 0 while it is awake, and will look before it sleeps
}

func (p *pacer) init() {
	p.stop, p.wake = make(chan struct{}), make(chan struct{}, 1)
}

// arm sets when a group is to be looked at.
func (p *pacer) arm(g *group, at int64) {
	p.mu.Lock()
	p.timers.set(&g.timer, at)
	p.kick(at)
	p.mu.Unlock()
}

// wakeBy sees to it that the pacer looks at the root by a time.
func (p *pacer) wakeBy(at int64) {
	p.mu.Lock()
	p.kick(at)
	p.mu.Unlock()
}

// kick wakes the goroutine if it would sleep longer; p.mu is held.
func (p *pacer) kick(at int64) {
	if at >= p.until {
		return
	}
	p.until = at
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// due takes the next group whose time has come, or nil.
func (p *pacer) due(now int64) *group {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timers.next() > now {
		return nil
	}
	return p.timers.pop()
}

// sleep returns when to wake up, with the root's time read after those who changed it could no longer kick in vain.
func (p *pacer) sleep(r *root) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = min(p.timers.next(), r.at.Load())
	return p.until
}

// awake begins a pass over all who are due, which was to begin at p.until.
func (p *pacer) awake(now int64) {
	p.mu.Lock()
	p.began, p.counted = now, now
	if p.until > 0 {
		p.began, p.counted = min(p.until, now), min(p.until, now)
	}
	p.until = 0
	p.mu.Unlock()
}

// pace is the scheduler's goroutine.
func (s *Scheduler) pace() {
	p := &s.pacer
	timer := time.NewTimer(0)
	defer timer.Stop()
	b := s.getBatch()
	for {
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.stop:
			return
		}
		p.awake(s.now())
		s.serve(b)
		at := p.sleep(&s.root)
		if at == never {
			timer.Stop()
			continue
		}
		timer.Reset(time.Duration(max(at-s.now(), 0)))
	}
}

// serve looks at all whose time has come.
func (s *Scheduler) serve(b *batch) {
	at := s.passed() // since it was to begin
	// What becomes due while this goes on is left for the next pass, so that groups and the root's ring both have theirs.
	for began := at.now; s.running(); at = s.passed() {
		g := s.pacer.due(began)
		if g == nil {
			break
		}
		g.mu.Lock()
		if g.armed = 0; g.draining || g.queued {
			g.mu.Unlock()
			continue
		}
		g.drain(b, at)
	}
	s.root.begin(at)
	for began := at.now; s.running() && at.now-began <= tick; at = s.passed() {
		g, granted := s.root.take(at)
		if g == nil {
			break
		}
		g.takeTurn(b, at, granted)
	}
}

// passed returns the time, after something that may have held the pacer. A pass that lasts longer than a tick counts as stalled,
// since those who come last in it are kept waiting.
func (s *Scheduler) passed() moment {
	p, now := &s.pacer, s.now()
	if now-p.began > tick {
		s.stalled.Add(now - p.counted)
		p.counted = now
	}
	return moment{now, s.stalled.Load()}
}
