package supabase

import (
	"sync"
	"time"
)

// maxHold is the longest that an answer can have a URL not be asked.
const maxHold = time.Hour

// routes are the base URLs of a fleet, the first preferred, and which of them failed lately. Its methods may be called from any
// goroutine.
type routes struct {
	returnAfter time.Duration

	mu   sync.Mutex
	urls []route
}

type route struct {
	url string
	// down is until when the URL is asked last; zero: it works, for all that is known.
	down time.Time
	// held is until when the fleet does not want to be asked there.
	held time.Time
}

func newRoutes(urls []string, returnAfter time.Duration) *routes {
	r := &routes{returnAfter: returnAfter}
	for _, u := range urls {
		r.urls = append(r.urls, route{url: u})
	}
	return r
}

// order returns the URLs in the order in which a call asks them: those that did not fail lately, then those that did. One that does not
// want to be asked is left out, unless all are such.
func (r *routes) order(now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var up, down, held []string
	for _, u := range r.urls {
		switch {
		case r.within(u.held, now, maxHold):
			held = append(held, u.url)
		case r.within(u.down, now, r.returnAfter):
			down = append(down, u.url)
		default:
			up = append(up, u.url)
		}
	}
	if len(up)+len(down) == 0 {
		return held
	}
	return append(up, down...)
}

// within reports that a time is to come, and not later than it can have been meant: a clock that was set back tells by that.
func (*routes) within(until, now time.Time, most time.Duration) bool {
	return now.Before(until) && until.Sub(now) <= most
}

// worked says that a URL has answered, and reports whether it had failed.
func (r *routes) worked(url string) (back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.find(url)
	back = !u.down.IsZero()
	u.down, u.held = time.Time{}, time.Time{}
	return back
}

// failed says that a URL did not answer, or asks not to be asked for a while, and reports whether it had worked.
func (r *routes) failed(url string, now time.Time, retryAfter time.Duration) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.find(url)
	first = u.down.IsZero()
	u.down = now.Add(r.returnAfter)
	if retryAfter > 0 {
		u.held = now.Add(min(retryAfter, maxHold))
	}
	return first
}

// find returns a URL that is one of them.
func (r *routes) find(url string) *route {
	for i := range r.urls {
		if r.urls[i].url == url {
			return &r.urls[i]
		}
	}
	return &route{}
}

// all returns the URLs, the first preferred.
func (r *routes) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var urls []string
	for _, u := range r.urls {
		urls = append(urls, u.url)
	}
	return urls
}
