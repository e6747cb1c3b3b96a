package audit

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Unrecorded is the problem of a request whose record could not be written: 503. Without a result in the log, it was not
// begun, or, as the detail says, it may have been made.
const Unrecorded problem.Type = "/problems/audit-unavailable"

// requestIDHeader is where the answer has the request's id before the log sees it.
const requestIDHeader = "X-Request-Id"

// Middleware writes each request that may change something, which is all but GET, HEAD, OPTIONS and TRACE, to the log: before
// next sees it, and before its answer is sent. It belongs inside of what finds out who asks (package auth) and limits rates,
// and around what makes the change. Up to 1 MiB of an answer is held back until next returns or flushes it; the record is
// written then.
func (l *Log) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			next.ServeHTTP(w, r)
			return
		}
		if s := seenFrom(r.Context()); s != nil {
			s.audited = true
		}
		change, err := l.Begin(r.Context(), l.entry(w, r))
		if err != nil {
			l.opts.Logger.Error("change refused, as the audit log fails", "error", err)
			w.Header().Set("Retry-After", "5")
			problem.New(http.StatusServiceUnavailable, Unrecorded,
				"The node cannot write its audit log, so it changes nothing. Try again later; the reason is in its operator's log.").
				Because(err).Write(w)
			return
		}
		inner := r.WithContext(context.WithValue(r.Context(), contextKey{}, change))
		a := &answer{w: w, log: l, change: change, request: inner}
		defer a.abandon()
		next.ServeHTTP(a, inner)
		a.release()
	})
}

// entry is what is known of a request before it is served.
func (l *Log) entry(w http.ResponseWriter, r *http.Request) Entry {
	operation := r.Method + " " + r.URL.Path
	if l.opts.Route != nil {
		if pattern := l.opts.Route(r); pattern != "" {
			operation = withMethod(r.Method, pattern)
		}
	}
	return Entry{Operation: operation, Path: r.URL.Path, Source: l.source(r), RequestID: w.Header().Get(requestIDHeader)}
}

func (l *Log) source(r *http.Request) string {
	if l.opts.Source != nil {
		return l.opts.Source(r)
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// withMethod puts the method before a pattern that is for any.
func withMethod(method, pattern string) string {
	if strings.Contains(pattern, " ") {
		return pattern
	}
	return method + " " + pattern
}
