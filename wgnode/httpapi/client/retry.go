package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Pauses between sendings. They grow by 2, with a random part, unless Retry-After says more; one that would be longer than the
// longest is not waited for.
const (
	firstPause   = 100 * time.Millisecond
	lastPause    = 2 * time.Second
	longestPause = 30 * time.Second
	jitter       = 0.3
)

// keyInUse is the problem of a request whose first sending is under way (see package idempotency).
const keyInUse problem.Type = "/problems/idempotency-key-in-use"

// persist sends a request until there is an answer that sending it again would not change.
func (c *Client) persist(ctx context.Context, r *request) (*answer, error) {
	policy := retrypolicy.NewBuilder[*answer]().
		HandleIf(func(a *answer, err error) bool {
			return ctx.Err() == nil && (passing(err) || a.passing() && a.soon(ctx))
		}).
		WithMaxAttempts(c.attempts).
		WithBackoff(firstPause, lastPause).
		WithJitterFactor(jitter).
		WithDelayFunc(func(e failsafe.ExecutionAttempt[*answer]) time.Duration {
			if a := e.LastResult(); a != nil {
				if pause := a.retryAfter(time.Now()); pause > 0 {
					return pause
				}
			}
			return -1 // as the backoff says
		}).
		ReturnLastFailure().
		Build()
	a, err := failsafe.With(policy).WithContext(ctx).Get(func() (*answer, error) { return c.send(ctx, r) })
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", r.op, context.Cause(ctx))
	case unreachable(err):
		return nil, fmt.Errorf("%s: %w: %w", r.op, ErrUnreachable, err)
	}
	return nil, fmt.Errorf("%s: %w", r.op, err)
}

// passing reports that an error may be over the next time: nobody listened, or the connection broke.
func passing(err error) bool {
	var unsent *unsentError
	return err != nil && !errors.As(err, &unsent) && (refused(err) || broken(err))
}

// broken reports that a connection ended before the answer did.
func broken(err error) bool {
	for _, end := range []error{syscall.ECONNRESET, errWindowsReset, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// passing reports that a refusal may be over the next time.
func (a *answer) passing() bool {
	if a == nil {
		return false
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusBadGateway:
		return true
	case http.StatusServiceUnavailable: // a refusal of a kind of its own, as while draining, stays unless it says until when
		kind := a.kind()
		return kind == problem.Unavailable || kind == blank || a.header.Get("Retry-After") != ""
	case http.StatusConflict:
		return a.kind() == keyInUse
	}
	return false
}

// kind is the type of the problem, "about:blank" without one.
func (a *answer) kind() problem.Type {
	p := problem.Problem{Type: blank}
	if !a.is(problem.ContentType) || json.Unmarshal(a.body, &p) != nil || p.Type == "" {
		return blank
	}
	return p.Type
}

// soon reports that the pause that the answer asks for is worth waiting for.
func (a *answer) soon(ctx context.Context) bool {
	pause := a.retryAfter(time.Now())
	deadline, ok := ctx.Deadline()
	return pause <= longestPause && (!ok || time.Now().Add(pause).Before(deadline))
}
