package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// What an error of a request is, for errors.Is. All but the last two are what the API answered.
var (
	ErrInvalid            = errors.New("the request is invalid")          // 400, 405, 413, 422 and the like
	ErrUnauthenticated    = errors.New("who asks is not known")           // 401
	ErrForbidden          = errors.New("who asks may not")                // 403
	ErrNotFound           = errors.New("there is no such thing")          // 404
	ErrConflict           = errors.New("it conflicts with what is there") // 409
	ErrPreconditionFailed = errors.New("it has changed meanwhile")        // 412
	ErrRateLimited        = errors.New("too many requests")               // 429
	ErrFailed             = errors.New("the node failed")                 // 500 and the like
	ErrUnavailable        = errors.New("the node cannot now")             // 502, 503, 504
	// ErrUnreachable: nobody listens, or the way there is broken; nothing was answered.
	ErrUnreachable = errors.New("the API cannot be reached")
	// ErrAnswer: the answer is not one of this API's.
	ErrAnswer = errors.New("the answer is not one of this API")
)

// Error is a request that the API refused, or that somebody before it did.
type Error struct {
	// Op is what was asked: "create a peer".
	Op string
	// Problem is the answer. Its Status is that of the response. One whose Type is "about:blank" was made of a response that had no
	// problem in it.
	Problem *problem.Problem
	// RetryAfter is how long the API asks to wait before another try; 0: it does not say.
	RetryAfter time.Duration
}

// Error is one line for a person.
func (e *Error) Error() string { return e.Op + ": " + e.Problem.Error() }

// Unwrap gives the problem.
func (e *Error) Unwrap() error { return e.Problem }

// Is matches the sentinel of the status.
func (e *Error) Is(target error) bool { return target == condition(e.Problem.Status) }

func condition(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthenticated
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusPreconditionFailed:
		return ErrPreconditionFailed
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ErrUnavailable
	}
	if status >= http.StatusInternalServerError {
		return ErrFailed
	}
	return ErrInvalid
}

// blank is the type of a problem that says no more than its status does (RFC 9457, section 4.2.1).
const blank problem.Type = "about:blank"

// refusal makes an error of an answer that is not a success.
func (a *answer) refusal(op string) error {
	if a.status < http.StatusBadRequest {
		text := fmt.Sprintf("the answer is %d %s", a.status, http.StatusText(a.status))
		if to := a.header.Get("Location"); to != "" {
			text += fmt.Sprintf(" to %s, which is not followed: give the address that is meant", quote(to))
		}
		return fmt.Errorf("%s: %w: %s", op, ErrAnswer, text)
	}
	p := &problem.Problem{Type: blank}
	if !a.is(problem.ContentType) || json.Unmarshal(a.body, p) != nil || p.Title == "" {
		p = &problem.Problem{Type: blank, Title: strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)))}
		if len(a.body) > 0 && !a.is(problem.ContentType) {
			p.Detail = fmt.Sprintf("the answer is %s, and not of this API: is the address right?", quote(a.header.Get("Content-Type")))
		}
	}
	p.Status = a.status
	return &Error{Op: op, Problem: p, RetryAfter: a.retryAfter(time.Now())}
}

// is reports the type of the content.
func (a *answer) is(contentType string) bool {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && media == contentType
}

// retryAfter reads the header, a number of seconds or a date (RFC 9110, section 10.2.3).
func (a *answer) retryAfter(now time.Time) time.Duration {
	text := a.header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// errors of Windows sockets, which package syscall does not have; elsewhere there are no such numbers.
const (
	errWindowsReset   = syscall.Errno(10054)
	errWindowsRefused = syscall.Errno(10061)
)

// refused reports that nobody listens: nothing was sent.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errWindowsRefused)
}

// unreachable reports that the way to the API is missing or broken, rather than closed to this client.
func unreachable(err error) bool {
	return refused(err) || broken(err) || errors.Is(err, fs.ErrNotExist)
}

// quote keeps a hostile text from filling an error or a terminal.
func quote(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strconv.Quote(text)
}

// Refused makes an [*Error] of a problem that another package has read, as eventstream.Read does; other errors stay what they
// are.
func Refused(op string, err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) {
		return err
	}
	return &Error{Op: op, Problem: p}
}
