package metrics

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTPOptions say how requests are told apart.
type HTTPOptions struct {
	// Pattern returns the pattern that a request's route was registered with, "GET /api/v1/peers/{id}", or "" for none. There must be no
	// more patterns than routes. Nil: all routes are "other". For a mux:
	//
	//	func(r *http.Request) string { _, pattern := mux.Handler(r); return pattern }
	Pattern func(*http.Request) string
	// AuthReasons are why authentication may fail; another reason is "other".
	AuthReasons []string
}

// HTTP counts requests. It is a collector.
type HTTP struct {
	pattern  func(*http.Request) string
	reasons  known
	all      []prometheus.Collector
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	received *prometheus.HistogramVec
	sent     *prometheus.HistogramVec
	inFlight prometheus.Gauge
	failures *prometheus.CounterVec
	replays  prometheus.Counter
}

var _ prometheus.Collector = (*HTTP)(nil)

// NewHTTP returns metrics of requests.
func NewHTTP(opts HTTPOptions) *HTTP {
	all := httpFamilies()
	histogram := func(name string, buckets []float64) *prometheus.HistogramVec {
		f := family(all, name)
		return prometheus.NewHistogramVec(histogramOpts(f, buckets), f.Labels)
	}
	counters := func(name string) *prometheus.CounterVec {
		f := family(all, name)
		return prometheus.NewCounterVec(counterOpts(f), f.Labels)
	}
	// A peer's creation is to take 5 ms at most, a large batch may take seconds.
	times := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	sizes := prometheus.ExponentialBuckets(256, 8, 6) // to 8 MiB
	h := &HTTP{
		pattern: opts.Pattern, reasons: knownOf(opts.AuthReasons...),
		requests: counters("waylume_http_requests_total"),
		duration: histogram("waylume_http_request_duration_seconds", times),
		received: histogram("waylume_http_request_size_bytes", sizes),
		sent:     histogram("waylume_http_response_size_bytes", sizes),
		inFlight: prometheus.NewGauge(gaugeOpts(family(all, "waylume_http_requests_in_flight"))),
		failures: counters("waylume_http_auth_failures_total"),
		replays:  prometheus.NewCounter(counterOpts(family(all, "waylume_http_idempotent_replays_total"))),
	}
	h.all = []prometheus.Collector{h.requests, h.duration, h.received, h.sent, h.inFlight, h.failures, h.replays}
	for reason := range h.reasons { // so that the first failure is an increase
		h.failures.WithLabelValues(reason)
	}
	h.failures.WithLabelValues(other)
	return h
}

// Describe implements [prometheus.Collector].
func (h *HTTP) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range h.all {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (h *HTTP) Collect(ch chan<- prometheus.Metric) {
	for _, c := range h.all {
		c.Collect(ch)
	}
}

// AuthFailed counts a request that was refused for who made it.
func (h *HTTP) AuthFailed(reason string) { h.failures.WithLabelValues(h.reasons.of(reason)).Inc() }

// Replayed counts a request that was answered as before, for its idempotency key.
func (h *HTTP) Replayed() { h.replays.Inc() }

// Middleware counts the requests that a handler answers. It belongs before all that may refuse one. A handler that panics has answered
// with 5xx.
func (h *HTTP) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		route := other
		if h.pattern != nil {
			route = routeOf(h.pattern(r))
		}
		body := &countedBody{ReadCloser: r.Body}
		if r.Body != nil && r.Body != http.NoBody {
			r = r.WithContext(r.Context()) // the caller's stays as it is
			r.Body = body
		}
		answer := &answer{ResponseWriter: w}
		h.inFlight.Inc()
		whole := false
		defer func() {
			if !whole {
				answer.status = http.StatusInternalServerError
			}
			method := methodOf(r.Method)
			h.requests.WithLabelValues(route, method, answer.class()).Inc()
			h.received.WithLabelValues(route).Observe(float64(body.n))
			if !answer.streams() {
				h.duration.WithLabelValues(route, method).Observe(time.Since(began).Seconds())
				h.sent.WithLabelValues(route).Observe(float64(answer.n))
			}
			h.inFlight.Dec() // at last: a request is in flight, or counted
		}()
		next.ServeHTTP(answer, r)
		whole = true
	})
}

// routeOf is a pattern without its method.
func routeOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = strings.TrimSpace(path)
	}
	if pattern == "" {
		return other
	}
	return pattern
}

func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return other
}
