package placement

import (
	"context"
	"sync"
	"time"
)

// A registry that does not answer for less than the freshness divided by this is no outage: heartbeats come again before their servers
// count as silent.
const blip = 4

// outage remembers when nobody could be heard, by a controller's clock: servers look silent then until their next heartbeats
// have come.
type outage struct {
	mu    sync.Mutex
	mute  time.Time // since when the registry has not answered; zero: it has
	dark  bool      // when it answered last, no server was fresh
	ended time.Time // when the last outage was over; zero: there was none
}

// failed is told that the registry has not answered.
func (o *outage) failed(ctx context.Context, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mute.IsZero() && ctx.Err() == nil {
		o.mute = now
	}
}

// heard is told that the registry has answered, and whether any server was fresh. It says whether servers that are not are to be given
// time.
func (o *outage) heard(now time.Time, freshness time.Duration, anybody bool) (waiting bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dark && anybody || !o.mute.IsZero() && now.Sub(o.mute) >= freshness/blip {
		o.ended = now
	}
	o.mute, o.dark = time.Time{}, !anybody
	return o.dark || !o.ended.IsZero() && now.Sub(o.ended) < freshness
}
