package tracing_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/tracing"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// api is a node behind a route, both traced.
type api struct {
	*httptest.Server

	traces *tracing.Tracing
	node   *wgnode.Node
	key    wgtypes.Key
}

const (
	theirTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirSpan  = "00f067aa0ba902b7"
)

func newAPI(t *testing.T, dp wgnode.Dataplane, opts tracing.Options) *api {
	t.Helper()
	traces, err := tracing.Setup(t.Context(), opts)
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{Dataplane: dp, Tracer: traces.Tracer(), CheckpointPeriod: time.Hour, SyncPeriod: time.Hour})
	require.NoError(t, err)
	require.NoError(t, node.Start(t.Context()))
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	a := &api{traces: traces, node: node, key: private.PublicKey()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/peers", func(w http.ResponseWriter, r *http.Request) {
		spec := wgnode.PeerSpec{PublicKey: a.key}
		spec.SpeedLimit.Download = 8_000_000
		if _, err := node.AddPeer(r.Context(), spec); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	pattern := func(r *http.Request) string { _, p := mux.Handler(r); return p }
	handler := traces.Middleware(pattern)(mux)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "yes" {
			r = r.WithContext(auth.NewContext(r.Context(), auth.Principal{Name: "backend", Method: "jwt"}))
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(a.finish(t))
	return a
}

// finish has all spans sent.
func (a *api) finish(t *testing.T) func() {
	return func() {
		a.Server.Close()
		require.NoError(t, a.node.Close())
		require.NoError(t, a.traces.Shutdown(context.WithoutCancel(t.Context())))
	}
}

func (a *api) post(t *testing.T, path string, headers ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+path, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := a.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

func TestRequestToDataplane(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // last, when servers are closed
	c := newCollector(t)
	a := newAPI(t, wgnodetest.NewDataplane(), tracing.Options{
		Endpoint: c.URL, Headers: map[string]string{"authorization": "Bearer abc"}, Ratio: 1,
	})
	require.Equal(t, http.StatusCreated, a.post(t, "/api/v1/peers"))
	a.finish(t)()
	require.Equal(t, "Bearer abc", c.keys[0])
	require.Contains(t, c.trees(t), "POST /api/v1/peers\n  add peer\n    write to store\n    apply to dataplane\n")
	require.Equal(t, "POST /v1/traces", c.paths[0])

	request, add := attributes(c.span(t, "POST /api/v1/peers")), attributes(c.span(t, "add peer"))
	require.Equal(t, "/api/v1/peers", request["http.route"])
	require.Equal(t, "int_value:201", request["http.response.status_code"])
	require.Len(t, add["waylume.peer"], 16)
	require.Equal(t, add["waylume.peer"], attributes(c.span(t, "apply to dataplane"))["waylume.peer"])
	p, err := wgtypes.ParseKey(a.key.String())
	require.NoError(t, err)
	for _, secret := range []string{p.String(), "127.0.0.1", "100.64."} {
		require.NotContains(t, string(c.raw), secret)
	}
}

func TestFailure(t *testing.T) {
	for mode, told := range map[string]bool{"off": true, "partial": false, "": false} {
		c := newCollector(t)
		dp := wgnodetest.NewDataplane()
		a := newAPI(t, dp, tracing.Options{Endpoint: c.URL, Ratio: 1, Redaction: mode})
		dp.FailNext(wgnodetest.OpApply, wgnodetest.ErrInjected)
		require.Equal(t, http.StatusInternalServerError, a.post(t, "/api/v1/peers"))
		a.finish(t)()
		require.Contains(t, c.trees(t), "POST /api/v1/peers failed\n  add peer failed\n    write to store\n"+
			"    apply to dataplane failed\n    undo\n      write to store\n")
		require.Equal(t, "_OTHER", attributes(c.span(t, "add peer"))["error.type"])
		require.Equal(t, told, strings.Contains(string(c.raw), wgnodetest.ErrInjected.Error()))
		require.Equal(t, told, strings.Contains(string(c.raw), a.key.String()))
	}
}

// Only who is known goes on with a trace of theirs; whoever else says what is linked to.
func TestTraceparent(t *testing.T) {
	const parent = "00-" + theirTrace + "-" + theirSpan + "-01"
	for _, known := range []bool{true, false} {
		c := newCollector(t)
		a := newAPI(t, wgnodetest.NewDataplane(), tracing.Options{Endpoint: c.URL, Ratio: map[bool]float64{true: 0, false: 1}[known]})
		a.post(t, "/api/v1/peers", "traceparent", parent, "tracestate", "vendor=anything", "Authorization", map[bool]string{true: "yes"}[known])
		a.finish(t)()
		s := c.span(t, "POST /api/v1/peers")
		if known {
			require.Equal(t, []string{theirTrace, theirSpan}, []string{hexOf(s.GetTraceId()), hexOf(s.GetParentSpanId())},
				"whatever the ratio: they have decided")
			require.Empty(t, s.GetLinks())
			continue
		}
		require.NotEqual(t, theirTrace, hexOf(s.GetTraceId()))
		require.Empty(t, s.GetParentSpanId())
		require.Len(t, s.GetLinks(), 1)
		require.Equal(t, []string{theirTrace, theirSpan}, []string{hexOf(s.GetLinks()[0].GetTraceId()), hexOf(s.GetLinks()[0].GetSpanId())})
		require.NotContains(t, string(c.raw), "vendor=anything")
	}
}

// A stranger cannot have a trace kept that the ratio leaves out, nor make names.
func TestStranger(t *testing.T) {
	c := newCollector(t)
	a := newAPI(t, wgnodetest.NewDataplane(), tracing.Options{Endpoint: c.URL, Ratio: 0})
	a.post(t, "/api/v1/peers", "traceparent", "00-"+theirTrace+"-"+theirSpan+"-01")
	a.post(t, "/api/v1/peers", "traceparent", "00-zz")
	a.finish(t)()
	require.Empty(t, c.spans)

	c = newCollector(t)
	a = newAPI(t, wgnodetest.NewDataplane(), tracing.Options{Endpoint: c.URL, Ratio: 1})
	require.Equal(t, http.StatusNotFound, a.post(t, "/secret/path?key=1"))
	a.finish(t)()
	require.Contains(t, c.trees(t), "POST\n")
	require.NotContains(t, string(c.raw), "secret")
}

func TestOff(t *testing.T) {
	traces, err := tracing.Setup(t.Context(), tracing.Options{})
	require.NoError(t, err)
	require.Nil(t, traces.Tracer())
	next := http.NotFoundHandler()
	require.IsType(t, next, traces.Middleware(nil)(next))
	require.NoError(t, traces.Shutdown(t.Context()))
}

func TestOptions(t *testing.T) {
	for want, opts := range map[string]tracing.Options{
		"no scheme":      {Endpoint: "otel.example.com:4318"},
		"cannot be read": {Endpoint: "http://user:secret@ho st"},
		"credentials":    {Endpoint: "https://user:secret@otel.example.com"},
		"query":          {Endpoint: "https://otel.example.com?token=secret"},
		"Ratio":          {Ratio: 1.1},
		"Redaction":      {Redaction: "none"},
	} {
		_, err := tracing.Setup(t.Context(), opts)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

// A collector that is away holds nothing up, and is told of once.
func TestCollectorAway(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // last, when servers are closed
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(away.Close)
	var log bytes.Buffer
	a := newAPI(t, wgnodetest.NewDataplane(), tracing.Options{
		Endpoint: away.URL, Ratio: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.Equal(t, http.StatusCreated, a.post(t, "/api/v1/peers"))
	a.finish(t)()
	require.Equal(t, 1, strings.Count(log.String(), "traces not sent"), log.String())
}
