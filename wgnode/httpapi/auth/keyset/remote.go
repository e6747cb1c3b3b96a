package keyset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// ErrStale says that the keys of a URL were read so long ago that they count no more.
var ErrStale = errors.New("the keys of the URL are too old")

// RemoteConfig says where keys are fetched, and how often. Zero values are the defaults.
type RemoteConfig struct {
	// URL serves a JWK Set: https, or http on the loopback ("localhost" or an address of it).
	URL string
	// Refresh is how often the URL is asked, give or take a tenth. 0: 10 min; at least 10 s.
	Refresh time.Duration
	// Retry is the least time between two requests: after one that failed, and when a token names a key that is not known.
	// 0: 30 s; at least 1 s.
	Retry time.Duration
	// MaxStale is how long keys count while the URL is down. 0: 24 h; at least Refresh.
	MaxStale time.Duration
	// Timeout bounds a request. 0: 5 s.
	Timeout time.Duration
	// MaxBytes bounds an answer. 0: 256 KiB.
	MaxBytes int64
	// Transport sends the requests. nil: one that uses no proxy and the system's roots.
	Transport http.RoundTripper
	// Logger is told when the URL fails, and when it is well again. nil: nobody is.
	Logger *slog.Logger
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// RemoteStatus is how a Remote does.
type RemoteStatus struct {
	URL       string
	Keys      int       // how many there are
	Refreshed time.Time // when they were read; zero: never
	Fetches   uint64    // requests to the URL
	Failures  uint64    // of Fetches, those without a set of keys
	Stale     uint64    // look-ups that were refused with ErrStale
	LastError string    // of the last request; empty: it was well
}

// Remote keeps the keys of a URL at hand. It may be used concurrently.
type Remote struct {
	cfg    RemoteConfig
	client *http.Client
	wake   chan chan struct{} // a look-up asks for a request; what it sends is closed after it
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended; nil before Start

	mu      sync.Mutex
	keys    map[string]Key
	status  RemoteStatus
	tried   time.Time
	waiting int
	closed  bool
}

// maxWaiting is how many look-ups wait for one request to the URL at a time. More are told that there is no such key.
const maxWaiting = 64

// NewRemote checks a configuration. It asks the URL for nothing: see Start.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Remote{cfg: cfg, wake: make(chan chan struct{}), status: RemoteStatus{URL: cfg.URL}}
	r.client = &http.Client{
		Transport: cfg.Transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("more than three redirects")
			}
			return checkURL(req.URL.String())
		},
	}
	return r, nil
}

// Start begins to keep the keys at hand, until Close. It does not wait for the first answer: a look-up does. A second Start, and
// one after Close, change nothing.
func (r *Remote) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.done != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go r.run(ctx, r.done)
}

// Close ends what Start began, and waits for it. No key is found any more.
func (r *Remote) Close() {
	r.mu.Lock()
	r.closed, r.keys = true, nil
	cancel, done := r.cancel, r.done
	r.mu.Unlock()
	if done != nil {
		cancel()
		<-done
		r.client.CloseIdleConnections()
	}
}

// Status says how the remote does.
func (r *Remote) Status() RemoteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Keys = len(r.keys)
	return s
}

// Keys returns the keys there are now, in no order, however old.
func (r *Remote) Keys() []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]Key, 0, len(r.keys))
	for _, k := range r.keys {
		keys = append(keys, k)
	}
	return keys
}

// Lookup returns the key of an id. For one that is not known it asks the URL, unless it did a moment ago (Retry), and waits for
// the answer. Not ok: the URL has none. The error matches [ErrStale] if the URL has been down for longer than MaxStale, or has
// never answered.
func (r *Remote) Lookup(ctx context.Context, id string) (k Key, ok bool, err error) {
	defer func() {
		if err != nil {
			r.mu.Lock()
			r.status.Stale++
			r.mu.Unlock()
		}
	}()
	k, ok, ask, err := r.known(id)
	if ok || !ask {
		return k, ok, err
	}
	answered := make(chan struct{})
	select {
	case r.wake <- answered:
		select {
		case <-answered:
		case <-r.done:
		case <-ctx.Done():
		}
	case <-r.done:
	case <-ctx.Done():
	}
	r.mu.Lock()
	r.waiting--
	r.mu.Unlock()
	return r.found(id)
}

// known looks a key up. If ask is true the caller is one of those who wait for the URL.
func (r *Remote) known(id string) (k Key, ok, ask bool, err error) {
	k, ok, err = r.found(id)
	if ok {
		return k, true, false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.done == nil || r.waiting >= maxWaiting || r.cfg.Now().Sub(r.tried) < r.cfg.Retry {
		return Key{}, false, false, err
	}
	r.waiting++
	return Key{}, false, true, err
}

// found looks a key up among those that there are.
func (r *Remote) found(id string) (Key, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Refreshed.IsZero() || r.cfg.Now().Sub(r.status.Refreshed) > r.cfg.MaxStale {
		since := "never"
		if !r.status.Refreshed.IsZero() {
			since = r.status.Refreshed.UTC().Format(time.RFC3339)
		}
		return Key{}, false, fmt.Errorf("%w: %s last answered: %s", ErrStale, r.cfg.URL, since)
	}
	k, ok := r.keys[id]
	return k, ok, nil
}

// run asks the URL on schedule, and when a look-up wants it.
func (r *Remote) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var waiter chan struct{}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case waiter = <-r.wake:
		}
		if waiter == nil || r.due() {
			err := r.refresh(ctx)
			next := r.cfg.Refresh - r.cfg.Refresh/10 + rand.N(r.cfg.Refresh/5)
			if err != nil {
				next = min(next, r.cfg.Retry+rand.N(r.cfg.Retry/2))
			}
			timer.Reset(next)
		}
		if waiter != nil {
			close(waiter)
		}
	}
}

// due reports whether the URL may be asked: a look-up that waited meanwhile may have been answered with another's request.
func (r *Remote) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.Now().Sub(r.tried) >= r.cfg.Retry
}
