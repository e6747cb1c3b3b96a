package eventstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// What a zero field of [ReadOptions] means.
const (
	DefaultSilence  = 3 * DefaultKeepAlive
	DefaultMaxDelay = 30 * time.Second

	minDelay = 10 * time.Millisecond
)

// ReadOptions are how a stream is read. The zero value is what most want.
type ReadOptions struct {
	// LastEventID is the ID of the event to go on after. Empty: from now on.
	LastEventID string
	// Silence is how long the server may say nothing, not even that it is there, before the connection is given up. 0:
	// DefaultSilence.
	Silence time.Duration
	// MaxDelay bounds the time between tries to connect. 0: DefaultMaxDelay.
	MaxDelay time.Duration
	// Retrying is told why a connection ended, and when the next begins. Nil: nobody is.
	Retrying func(err error, after time.Duration)
}

// errEnded: a stream has ended without an error.
var errEnded = errors.New("the stream has ended")

// Read yields the events of a [Handler] at a URL. When a connection ends or cannot be made, it connects again and goes on after
// the last event, without end, after the time that the server asks for, and ever later while it fails. It yields an error, and
// ends, when the server refuses (a [*problem.Problem] if it says why), when it sends something else than events, and when ctx is
// done. The client's Timeout must be 0; its Transport is what authenticates each request. Nil is http.DefaultClient.
func Read(ctx context.Context, client *http.Client, url string, opts ReadOptions) iter.Seq2[Event, error] {
	if client == nil {
		client = http.DefaultClient
	}
	if opts.Silence <= 0 {
		opts.Silence = DefaultSilence
	}
	if opts.MaxDelay <= 0 {
		opts.MaxDelay = DefaultMaxDelay
	}
	return func(yield func(Event, error) bool) {
		r := &reader{client: client, url: url, opts: opts, lastID: opts.LastEventID, retry: DefaultRetry}
		for failures := 0; ; failures++ {
			r.heard = false
			err := r.connection(ctx, yield)
			var fatal *fatalError
			switch {
			case errors.Is(err, errStopped):
				return
			case errors.As(err, &fatal):
				yield(Event{}, fatal.error)
				return
			case ctx.Err() != nil:
				yield(Event{}, context.Cause(ctx))
				return
			case r.heard:
				failures = 0
			}
			delay := r.delay(failures)
			if opts.Retrying != nil {
				opts.Retrying(err, delay)
			}
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				yield(Event{}, context.Cause(ctx))
				return
			}
		}
	}
}

var errStopped = errors.New("the caller wants no more")

// fatalError is one that would come again.
type fatalError struct{ error }

type reader struct {
	client *http.Client
	url    string
	opts   ReadOptions
	lastID string
	retry  time.Duration // what the server asks for
	heard  bool          // a stream began
}

// delay doubles with each failure, and differs between clients, so that they do not all come back at once.
func (r *reader) delay(failures int) time.Duration {
	delay := max(r.retry, minDelay)
	for ; failures > 0 && delay < r.opts.MaxDelay; failures-- {
		delay *= 2
	}
	delay = min(delay, r.opts.MaxDelay)
	return delay/2 + rand.N(delay/2+1)
}

// connection reads one stream.
func (r *reader) connection(ctx context.Context, yield func(Event, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(r.opts.Silence, func() { cancel(fmt.Errorf("the server said nothing for %s", r.opts.Silence)) })
	defer silent.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return &fatalError{err}
	}
	req.Header.Set("Accept", "text/event-stream")
	if r.lastID != "" {
		req.Header.Set("Last-Event-ID", r.lastID)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return because(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	if err := r.refused(res); err != nil {
		return err
	}
	r.heard = true
	p := newParser(&watched{res.Body, func() { silent.Reset(r.opts.Silence) }})
	for {
		m, err := p.next()
		r.lastID = p.lastID
		if p.retry > 0 {
			r.retry = p.retry
		}
		switch {
		case errors.Is(err, errLarge):
			return &fatalError{err}
		case errors.Is(err, io.EOF):
			return errEnded
		case err != nil:
			return because(ctx, err)
		}
		e := Event{ID: m.id}
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			return &fatalError{fmt.Errorf("what came is not an event of a node's: %w", err)}
		}
		silent.Stop() // the caller may take its time
		if !yield(e, nil) {
			return errStopped
		}
		silent.Reset(r.opts.Silence)
	}
}

// because gives the reason that ctx has ended, where that is why something failed.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// refused is an error unless the answer is a stream. Those that may pass are not fatal.
func (r *reader) refused(res *http.Response) error {
	if res.StatusCode == http.StatusOK && mediaType(res) == "text/event-stream" {
		return nil
	}
	err := fmt.Errorf("%s answers %s with %q instead of a stream of events", r.url, res.Status, mediaType(res))
	if mediaType(res) == problem.ContentType {
		var p problem.Problem
		if json.NewDecoder(io.LimitReader(res.Body, maxMessage)).Decode(&p) == nil {
			err = &p
		}
	}
	switch {
	case res.StatusCode >= 500, res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusRequestTimeout:
		if seconds, parse := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16); parse == nil {
			r.retry = time.Duration(seconds) * time.Second
		}
		return err
	}
	return &fatalError{err}
}

func mediaType(res *http.Response) string {
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	return strings.TrimSpace(kind)
}

// watched tells when something was read.
type watched struct {
	io.Reader
	heard func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.heard()
	}
	return n, err
}
