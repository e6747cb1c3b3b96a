// Package failures counts what fails by where it came from, and makes those wait who fail often: longer each time, and never so
// many at a time that the waiting itself is a burden.
package failures

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
)

// Config bounds a Tracker. All are greater than zero.
type Config struct {
	Threshold int           // failures of a source before it waits
	Quiet     time.Duration // without a failure, after which they are forgotten
	First     time.Duration // the first delay; each is twice the last
	Longest   time.Duration // the longest delay
	Waiting   int           // how many wait at a time
	PerSource int           // of those, how many of a source's
	Sources   int           // how many sources are remembered; the one that failed longest ago is forgotten for another
}

// Count is how a source has failed.
type Count struct {
	Failures int
	Since    time.Time     // the first of them
	Delay    time.Duration // how long the answer waits; 0: not
	Notable  bool          // the source has reached the threshold, or twice as many failures as when it last was notable
}

type record struct {
	Count
	last    time.Time
	waiting int
}

// Tracker counts failures. It may be used concurrently.
type Tracker struct {
	cfg Config

	mu      sync.Mutex
	sources *source.Table[netip.Prefix, *record]
	waiting int
}

// New returns a tracker.
func New(cfg Config) *Tracker {
	return &Tracker{cfg: cfg, sources: source.NewTable[netip.Prefix, *record](cfg.Sources)}
}

// Fail counts a failure.
func (t *Tracker) Fail(from netip.Prefix, now time.Time) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.sources.Get(from)
	if *at == nil {
		*at = &record{}
	}
	r := *at
	if r.Failures == 0 || now.Sub(r.last) >= t.cfg.Quiet {
		r.Count = Count{Since: now}
	}
	r.last = now
	r.Failures++
	r.Notable = notable(r.Failures, t.cfg.Threshold)
	r.Delay = t.cfg.delay(r.Failures)
	return r.Count
}

// notable reports whether n is threshold times a power of two.
func notable(n, threshold int) bool {
	if n%threshold != 0 {
		return false
	}
	times := n / threshold
	return times > 0 && times&(times-1) == 0
}

func (c Config) delay(failures int) time.Duration {
	over := failures - c.Threshold
	if over <= 0 {
		return 0
	}
	d := c.First
	for ; over > 1 && d < c.Longest; over-- {
		d *= 2
	}
	return min(d, c.Longest)
}

// Wait waits for a delay, or until ctx or stop is done. It reports false at once if as many wait as may.
func (t *Tracker) Wait(ctx context.Context, stop <-chan struct{}, from netip.Prefix, delay time.Duration) bool {
	r, ok := t.enter(from)
	if !ok {
		return false
	}
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.waiting--
		r.waiting--
	}()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-stop:
	}
	return true
}

func (t *Tracker) enter(from netip.Prefix) (*record, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.sources.Peek(from)
	if at == nil || t.waiting >= t.cfg.Waiting || (*at).waiting >= t.cfg.PerSource {
		return nil, false
	}
	t.waiting++
	(*at).waiting++
	return *at, true
}

// Sources is how many sources are remembered.
func (t *Tracker) Sources() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sources.Len()
}

// Waiting is how many wait.
func (t *Tracker) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}
