package tracing

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// Middleware makes a span of each request. Its pattern returns that of the request's route, "POST /api/v1/peers" or "", as in package
// metrics. It belongs after authentication, so that requests of nobody's make no spans, and that who is known goes on with a trace of
// theirs. When tracing is off it does nothing.
func (t *Tracing) Middleware(pattern func(*http.Request) string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if t.provider == nil {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.serve(w, r, pattern(r), next) })
	}
}

func (t *Tracing) serve(w http.ResponseWriter, r *http.Request, pattern string, next http.Handler) {
	ctx := r.Context()
	method, route := methodOf(r.Method), pattern
	if _, path, ok := strings.Cut(pattern, " "); ok {
		route = strings.TrimSpace(path)
	}
	name := method
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", method)),
	}
	if route != "" {
		name = method + " " + route
		options = append(options, trace.WithAttributes(attribute.String("http.route", route)))
	}
	principal, known := auth.FromContext(ctx)
	if known {
		options = append(options, trace.WithAttributes(attribute.String("waylume.auth.method", principal.Method)))
	}
	theirs := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	remote := trace.SpanContextFromContext(theirs)
	switch {
	case !remote.IsValid():
	case known && !trace.SpanContextFromContext(ctx).IsValid(): // else an embedder's span goes before
		ctx = trace.ContextWithRemoteSpanContext(ctx, remote)
	default:
		// A tracestate is any text.
		options = append(options, trace.WithLinks(trace.Link{SpanContext: remote.WithTraceState(trace.TraceState{})}))
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	defer span.End()
	answer := &answer{ResponseWriter: w}
	whole := false
	defer func() {
		if !whole {
			answer.status = http.StatusInternalServerError
		}
		status := answer.status
		if status == 0 {
			status = http.StatusOK
		}
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	}()
	next.ServeHTTP(answer, r.WithContext(ctx))
	whole = true
}

// methodOf is a method of the standard's, or what the semantic conventions have for others.
func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "_OTHER"
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int // 0: not yet
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Flush implements [http.Flusher].
func (a *answer) Flush() {
	_ = http.NewResponseController(a.ResponseWriter).Flush() // the interface has no error, and the next Write tells
}
