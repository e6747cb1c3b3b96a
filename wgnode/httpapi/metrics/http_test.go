package metrics_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// serve runs a small API with the middleware before it.
func serve(t *testing.T) (*metrics.HTTP, *httptest.Server, *http.Client) {
	t.Helper()
	mux := http.NewServeMux()
	h := metrics.NewHTTP(metrics.HTTPOptions{
		Pattern:     func(r *http.Request) string { _, pattern := mux.Handler(r); return pattern },
		AuthReasons: []string{"expired", "replayed"},
	})
	mux.HandleFunc("GET /peers/{id}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.PathValue("id")) })
	mux.HandleFunc("POST /peers", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			conn.Close()
		}
	})
	server := httptest.NewServer(h.Middleware(mux))
	t.Cleanup(server.Close)
	return h, server, server.Client()
}

func do(t *testing.T, client *http.Client, method, url, body string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	answer, err := client.Do(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

func TestMiddleware(t *testing.T) {
	h, server, client := serve(t)
	for i := range 50 { // as many paths, one route
		do(t, client, "GET", fmt.Sprintf("%s/peers/%d", server.URL, i), "")
		do(t, client, "GET", fmt.Sprintf("%s/wp-admin/%d", server.URL, i), "")
		do(t, client, fmt.Sprintf("VERB%d", i), server.URL+"/peers", "")
	}
	do(t, client, "POST", server.URL+"/peers", "0123456789")
	do(t, client, "GET", server.URL+"/hijack", "")
	const inFlight = "waylume_http_requests_in_flight"
	require.Eventually(t, func() bool { return gather(t, h)[inFlight] == 0 }, 10*time.Second, time.Millisecond, "an answer comes before its end")
	got := gather(t, h)
	for sample, want := range map[string]float64{
		"waylume_http_requests_total{method=GET,route=/peers/{id},status=2xx}": 50,
		"waylume_http_requests_total{method=GET,route=other,status=4xx}":       50,
		"waylume_http_requests_total{method=other,route=other,status=4xx}":     50,
		"waylume_http_requests_total{method=POST,route=/peers,status=2xx}":     1,
		"waylume_http_request_duration_seconds{method=POST,route=/peers}":      1,
		"waylume_http_request_duration_seconds{method=GET,route=/peers/{id}}":  50,
		"waylume_http_response_size_bytes{route=/peers/{id}}":                  50,
		"waylume_http_requests_total{method=GET,route=/hijack,status=2xx}":     1,
	} {
		require.Contains(t, got, sample)
		require.InDelta(t, want, got[sample], 0, sample)
	}
	require.Contains(t, string(text(t, h)), `waylume_http_request_size_bytes_sum{route="/peers"} 10`)
	require.Less(t, len(got), 40)
}

func TestMiddlewarePanic(t *testing.T) {
	h, server, client := serve(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/panic", nil)
	require.NoError(t, err)
	answer, err := client.Do(r)
	if err == nil {
		answer.Body.Close()
	}
	require.Error(t, err, "the panic goes on")
	got := gather(t, h)
	require.InDelta(t, 1, got["waylume_http_requests_total{method=GET,route=/panic,status=5xx}"], 0)
	require.InDelta(t, 0, got["waylume_http_requests_in_flight"], 0)
}

// A stream of events is flushed, is in flight while it is read, and says nothing of how long answers take.
func TestMiddlewareStream(t *testing.T) {
	h, server, _ := serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(conn)
	for line := ""; line != "data: 1\n"; {
		line, err = in.ReadString('\n')
		require.NoError(t, err)
	}
	require.InDelta(t, 1, gather(t, h)["waylume_http_requests_in_flight"], 0)
	require.NoError(t, conn.Close())
	server.Close() // waits for the handler
	got := gather(t, h)
	require.InDelta(t, 1, got["waylume_http_requests_total{method=GET,route=/events,status=2xx}"], 0)
	require.NotContains(t, got, "waylume_http_request_duration_seconds{method=GET,route=/events}")
}

func TestAuthFailuresAndReplays(t *testing.T) {
	h, _, _ := serve(t)
	h.AuthFailed("expired")
	h.AuthFailed("made up by an attacker")
	h.AuthFailed("other")
	h.Replayed()
	got := gather(t, h)
	require.InDelta(t, 1, got["waylume_http_auth_failures_total{reason=expired}"], 0)
	require.InDelta(t, 0, got["waylume_http_auth_failures_total{reason=replayed}"], 0)
	require.InDelta(t, 2, got["waylume_http_auth_failures_total{reason=other}"], 0)
	require.InDelta(t, 1, got["waylume_http_idempotent_replays_total"], 0)
}

func BenchmarkMiddleware(b *testing.B) {
	h := metrics.NewHTTP(metrics.HTTPOptions{Pattern: func(*http.Request) string { return "GET /peers/{id}" }})
	handler := h.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	r := httptest.NewRequest(http.MethodGet, "/peers/1", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(w, r)
	}
}
