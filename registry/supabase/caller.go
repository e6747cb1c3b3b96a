package supabase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/waylume/waylume/registry"
)

// maxRenewals is how often a call is signed anew because the key was changed meanwhile.
const maxRenewals = 3

// caller asks a fleet. Its methods may be called from any goroutine.
type caller struct {
	cfg Config
	// client is that of the moment: after a failure there is another one, so that nothing goes over the connection that failed.
	client atomic.Pointer[http.Client]
	own    *http.Transport // what that of each client is a copy of
	routes *routes
	keep   *keeper // nil: nothing is signed
	// offset is what has to be added to this host's clock, in nanoseconds, for the fleet's.
	offset atomic.Int64
}

// init takes a configuration that is complete.
func (c *caller) init(cfg Config, urls []string, keep *keeper) (err error) {
	if c.own, err = newTransport(&cfg); err != nil {
		return err
	}
	c.client.Store(newClient(c.own))
	c.cfg, c.keep, c.routes = cfg, keep, newRoutes(urls, cfg.ReturnAfter)
	return nil
}

// close ends the connections that wait to be used again.
func (c *caller) close() { c.client.Load().CloseIdleConnections() }

// question is what a call asks, of one URL after another.
type question struct {
	op, path string
	body     []byte
	take     func(body []byte) error // reads the body of a success; called again if it fails
	// sent says that a URL may have had the question, and nothing is known of what became of it.
	sent bool
}

// call asks until a URL has answered. The error is an [*Error].
func (c *caller) call(ctx context.Context, q *question, body any) error {
	data, err := json.Marshal(body)
	if err != nil { // of the types of registry, a time beyond the year 9999 or a number that is none
		return &Error{Op: q.op, Err: fmt.Errorf("%w: %w", registry.ErrInvalid, err)}
	}
	if len(data) > maxBody {
		return &Error{Op: q.op, Err: fmt.Errorf("%w: the request has %d bytes: %d at most", registry.ErrInvalid, len(data), maxBody)}
	}
	q.body = data
	order := c.routes.order(c.cfg.Now())
	var failures []*Error
	for i, url := range order {
		failure := c.within(ctx, len(order)-i, url, q)
		if failure == nil {
			if c.routes.worked(url) {
				c.cfg.Logger.InfoContext(ctx, "fleet answers again", "url", url)
			}
			return nil
		}
		failure.Op, failure.URL = q.op, url
		if errors.Is(context.Cause(ctx), context.Canceled) { // which says nothing of the URL
			return failure
		}
		if !passing(failure) {
			return failure
		}
		if c.routes.failed(url, c.cfg.Now(), failure.retryAfter) {
			c.cfg.Logger.WarnContext(ctx, "fleet does not answer", "url", url, "op", q.op, "error", failure.Err)
		}
		if failures = append(failures, failure); ctx.Err() != nil {
			break
		}
	}
	return together(q.op, failures)
}

// together is one error of what became of all URLs.
func together(op string, failures []*Error) *Error {
	if len(failures) == 1 {
		return failures[0]
	}
	all := &Error{Op: op, retryAfter: maxHold}
	var errs []error
	for _, f := range failures {
		errs = append(errs, f)
		all.retryAfter = min(all.retryAfter, f.retryAfter) // there is one that may be asked again at once, unless all say otherwise
	}
	all.Err = errors.Join(errs...)
	return all
}

// passing reports that another URL, or the same one later, may answer what this one did not. That a fleet wants to be asked less
// is no reason to ask it elsewhere.
func passing(e *Error) bool {
	return errors.Is(e, registry.ErrUnavailable) && !errors.Is(e, ErrClock) && e.Status != http.StatusTooManyRequests
}

// within asks one URL, with its share of the time that there is for it and those after it.
func (c *caller) within(ctx context.Context, left int, url string, q *question) *Error {
	most := c.cfg.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/time.Duration(left))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most,
		fmt.Errorf("no whole answer within %v: %w", most.Round(time.Millisecond), context.DeadlineExceeded))
	defer cancel()
	return c.at(ctx, url, q)
}

// at asks one URL, more than once if it is this side that was wrong: the clock, or which key signs.
func (c *caller) at(ctx context.Context, url string, q *question) *Error {
	var who identity
	if c.keep != nil {
		who = c.keep.identity()
	}
	var corrected, tired bool
	var renewed int
	for {
		r, reused, err := c.send(ctx, url, q, who)
		if err != nil {
			if reused && !tired && ctx.Err() == nil && !isTimeout(err) {
				tired = true // the connection was an old one, which the other side had given up
				continue
			}
			return &Error{Err: fmt.Errorf("%w: %w", registry.ErrUnavailable, err)}
		}
		failure := r.judge(q, c.now())
		switch {
		case failure == nil:
			c.keep.used(ctx, who, c.cfg.Logger)
			return nil
		case errors.Is(failure, ErrClock) && !corrected:
			corrected = true
			if date := r.date(); !date.IsZero() {
				c.offset.Store(int64(date.Sub(c.cfg.Now())))
				c.cfg.Logger.WarnContext(ctx, "the clock differs from the fleet's: requests are signed by that",
					"url", url, "difference", c.difference())
				continue
			}
		case errors.Is(failure, registry.ErrDenied) && r.status == http.StatusUnauthorized && renewed < maxRenewals:
			renewed++
			if other, ok := c.keep.instead(ctx, who, c.cfg.Logger); ok {
				who = other
				continue
			}
		}
		return failure
	}
}

// now is the fleet's time, as far as it is known.
func (c *caller) now() time.Time { return c.cfg.Now().Add(c.difference()) }

func (c *caller) difference() time.Duration { return time.Duration(c.offset.Load()) }

// judge reads an answer.
func (r *reply) judge(q *question, now time.Time) *Error {
	if r.status != http.StatusOK {
		return r.refusal(now)
	}
	if !r.is("application/json") {
		return &Error{Status: r.status, Err: notTheFleets("it is of type %.100q: is the URL right?", r.header.Get("Content-Type"))}
	}
	if err := q.take(r.body); err != nil {
		return &Error{Status: r.status, Err: err}
	}
	return nil
}

// send sends a question once, signed if somebody is to sign it. It reports whether that went over a connection that was there.
func (c *caller) send(ctx context.Context, url string, q *question, who identity) (_ *reply, reused bool, err error) {
	connected := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { connected, reused = true, info.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, url+q.path, bytes.NewReader(q.body))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if who.key != nil {
		token, err := who.sign(q.path, q.body, c.now())
		if err != nil {
			return nil, false, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := c.client.Load()
	r, err := exchange(client, req)
	if err != nil {
		q.sent = q.sent || connected
		// The connection may be half open. It is not idle before the transport has cleared the request away, so closing what is idle
		// is not enough: the next request gets a transport of its own.
		c.client.CompareAndSwap(client, newClient(c.own))
		client.CloseIdleConnections()
		return nil, reused, why(ctx, err)
	}
	if len(r.body) > maxBody {
		return nil, false, notTheFleets("it has more than %d bytes", maxBody)
	}
	q.sent = q.sent || r.status >= http.StatusInternalServerError // it may have been carried out all the same
	return r, reused, nil
}

// exchange sends a request and reads the answer, to its end or the most that is taken.
func exchange(client *http.Client, req *http.Request) (_ *reply, err error) {
	response, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	return &reply{response.StatusCode, response.Header, body}, nil
}

// why says what ended a request when it was its context.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
