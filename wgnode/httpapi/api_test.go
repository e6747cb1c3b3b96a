package httpapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestNew(t *testing.T) {
	_, err := httpapi.New(httpapi.Config{})
	require.EqualError(t, err, "httpapi: Config.Node is not set: give the node that the API is for")
}

// Without somebody who authenticates, every route but health is closed; with, the scope counts.
func TestScopes(t *testing.T) {
	w := newWorld(t)
	p := w.create(`{}`)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`).is(http.StatusCreated)
	for _, op := range operations(t, w.api) {
		path := strings.ReplaceAll(op.path, "{id}", p.ID)
		if len(op.security) == 0 || len(op.security[0]) == 0 {
			require.Contains(t, []string{"/livez", "/readyz"}, path)
			w.do(op.method, path, "", "X-Scopes", "").is(http.StatusOK)
			continue
		}
		body := ""
		if op.body != nil {
			body = "not JSON" // which only those hear of who may ask
		}
		r := w.do(op.method, path, body, "X-Scopes", "")
		r.refused(http.StatusUnauthorized, problem.Unauthenticated)
		require.Equal(t, "Bearer", r.header.Get("WWW-Authenticate"))
		scopes := op.security[0]["bearer"]
		if len(scopes) == 0 {
			w.do(op.method, path, body, "X-Scopes", "none").is(http.StatusOK)
			continue
		}
		others := strings.Join(strings.Fields(strings.ReplaceAll(allScopes, scopes[0], "")), " ")
		refused := w.do(op.method, path, body, "X-Scopes", others).refused(http.StatusForbidden, problem.Forbidden)
		require.Contains(t, refused.Detail, scopes[0])
		require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, w.do(op.method, path, body, "X-Scopes", scopes[0]).status)
	}
	w.do(http.MethodGet, "/nowhere", "", "X-Scopes", "").refused(http.StatusUnauthorized, problem.Unauthenticated)
}

func TestNoSuchRoute(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/nowhere", "/api/v1", "/api/v1/peers/", "/api/v1//peers", "/api/v1/../v1/peers", "/api/v1/peers/a/b"} {
		w.do(http.MethodGet, path, "").refused(http.StatusNotFound, problem.NotFound)
	}
	r := w.do(http.MethodPut, "/api/v1/peers", `{}`)
	r.refused(http.StatusMethodNotAllowed, problem.MethodNotAllowed)
	require.Equal(t, "GET, HEAD, POST", r.header.Get("Allow"))
	r = w.do(http.MethodGet, "/api/v1/node/drain", "")
	r.refused(http.StatusMethodNotAllowed, problem.MethodNotAllowed)
	require.Equal(t, "POST", r.header.Get("Allow"))
	w.do("BREW", "/livez", "").refused(http.StatusMethodNotAllowed, problem.MethodNotAllowed)

	// A target that is no path.
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	require.NoError(t, err)
	head := make([]byte, 32)
	_, err = conn.Read(head)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(head), "HTTP/1.1 40"), "%s", head)
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/peers"
	w.do(http.MethodPost, path, `{"name": `).refused(http.StatusBadRequest, problem.Malformed)
	w.do(http.MethodPost, path, "").refused(http.StatusBadRequest, problem.Malformed)
	w.do(http.MethodPost, path, `{} {}`).refused(http.StatusBadRequest, problem.Malformed)
	w.do(http.MethodPost, path, `{}`, "Content-Type", "text/plain").refused(http.StatusUnsupportedMediaType, httpapi.UnsupportedMedia)
	w.do(http.MethodPost, path, `{"name": "`+strings.Repeat("x", 64<<10)+`"}`).refused(http.StatusRequestEntityTooLarge, problem.TooLarge)
	w.do(http.MethodPost, path, strings.Repeat("[", 60_000)).refused(http.StatusBadRequest, problem.Malformed)
	w.do(http.MethodPost, path, `null`).faulty("body")
	w.do(http.MethodPost, path, `{"name": "\ud800\u0000"}`).faulty("body.name")
	w.do(http.MethodPost, path, `{}`, "Content-Type", "").is(http.StatusCreated)
	w.do(http.MethodPost, path, `{}`, "Accept", "text/html").is(http.StatusCreated)
	// An answer with a hostile location stays small.
	r := w.do(http.MethodPost, path, `{"`+strings.Repeat("x", 10_000)+`": 1}`)
	r.refused(http.StatusUnprocessableEntity, problem.Invalid)
	require.Less(t, len(r.body), 600)
}

// What is the node's fault is told to the log, with the request's id, and not to the caller.
func TestInternal(t *testing.T) {
	w := newWorld(t)
	w.dataplane.FailNext(wgnodetest.OpApply, errors.New("a secret of the host's"))
	r := w.do(http.MethodPost, "/api/v1/peers", `{}`)
	r.refused(http.StatusInternalServerError, problem.Internal)
	require.NotContains(t, string(r.body), "secret")
	require.Contains(t, w.log.String(), "a secret of the host's")
	require.Contains(t, w.log.String(), `"request":"request-1"`)
}

func TestNotRunning(t *testing.T) {
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane()})
	require.NoError(t, err)
	handler, err := httpapi.New(httpapi.Config{Node: node})
	require.NoError(t, err)
	server := httptest.NewServer(recognise(handler))
	defer server.Close()
	w := &world{t: t, node: node, api: handler, url: server.URL, client: server.Client()}
	id := api.Key(newKey(t)).ID()
	for range 2 { // before the start, and after the end
		for _, path := range []string{
			"/api/v1/peers", "/api/v1/accounts", "/api/peers", "/api/v1/peers/" + id, "/api/v1/accounts/a", "/api/v1/peers/" + id + "/quality",
		} {
			w.do(http.MethodGet, path, "").refused(http.StatusServiceUnavailable, problem.Unavailable)
		}
		w.do(http.MethodPost, "/api/v1/peers", `{}`).refused(http.StatusServiceUnavailable, problem.Unavailable)
		w.do(http.MethodPut, "/api/v1/accounts/a", `{}`).refused(http.StatusServiceUnavailable, problem.Unavailable)
		w.do(http.MethodPost, "/api/v1/node/sync", "").refused(http.StatusServiceUnavailable, problem.Unavailable)
		w.do(http.MethodGet, "/api/v1/node", "").is(http.StatusOK)
		w.do(http.MethodGet, "/livez", "", "X-Scopes", "").is(http.StatusOK)
		var health api.Health
		w.do(http.MethodGet, "/readyz", "", "X-Scopes", "").is(http.StatusServiceUnavailable).into(&health)
		require.False(t, health.Checks[0].OK)
		require.NoError(t, node.Close())
	}
}

func TestMount(t *testing.T) {
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane()})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	handler, err := httpapi.New(httpapi.Config{Node: node})
	require.NoError(t, err)
	handler.Mount(huma.Operation{
		OperationID: "tail", Method: http.MethodGet, Path: "/api/v1/tail/{what}", Summary: "Follow", Tags: []string{"events"},
	}, auth.NodeAdmin, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("tail of " + r.PathValue("what")))
	}))
	server := httptest.NewServer(recognise(handler))
	defer server.Close()
	w := &world{t: t, api: handler, url: server.URL, client: server.Client()}
	require.Equal(t, "tail of x", string(w.do(http.MethodGet, "/api/v1/tail/x", "").is(http.StatusOK).body))
	w.do(http.MethodGet, "/api/v1/tail/x", "", "X-Scopes", "peers:read").refused(http.StatusForbidden, problem.Forbidden)
	w.do(http.MethodGet, "/api/v1/tail/x", "", "X-Scopes", "").refused(http.StatusUnauthorized, problem.Unauthenticated)
	require.Contains(t, string(w.do(http.MethodGet, "/openapi.json", "").is(http.StatusOK).body), `"/api/v1/tail/{what}"`)
}

func TestDrain(t *testing.T) {
	var drained []bool
	var failing error
	w := newWorld(t, func(_ *wgnode.Config, cfg *httpapi.Config) {
		cfg.OnDrain = func(_ context.Context, on bool) error {
			if failing == nil {
				drained = append(drained, on)
			}
			return failing
		}
	})
	p := w.create(`{}`)
	var node api.Node
	for range 2 {
		w.do(http.MethodPost, "/api/v1/node/drain", "").is(http.StatusOK).into(&node)
		require.True(t, node.Draining)
	}
	require.True(t, w.api.Draining())
	for _, path := range []string{"/api/v1/peers", "/api/peers"} {
		w.do(http.MethodPost, path, `{}`).refused(http.StatusServiceUnavailable, httpapi.Draining)
	}
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [{}]}`).refused(http.StatusServiceUnavailable, httpapi.Draining)
	w.do(http.MethodPatch, "/api/v1/peers/"+p.ID, `{"suspended": true}`).is(http.StatusOK)
	w.do(http.MethodPost, "/api/v1/peers/"+p.ID+"/rekey", `{}`).is(http.StatusOK)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`).is(http.StatusCreated)
	w.do(http.MethodGet, "/readyz", "").is(http.StatusOK)

	failing = errors.New("not now")
	w.do(http.MethodPost, "/api/v1/node/undrain", "").refused(http.StatusInternalServerError, problem.Internal)
	require.True(t, w.api.Draining())
	failing = nil
	w.do(http.MethodPost, "/api/v1/node/undrain", "").is(http.StatusOK)
	w.create(`{}`)
	require.Equal(t, []bool{true, true, false}, drained, "it is told of each request, for another may have drained the node before")
}

func TestNode(t *testing.T) {
	w := newWorld(t)
	w.create(`{}`)
	var node api.Node
	w.do(http.MethodGet, "/api/v1/node", "").is(http.StatusOK).into(&node)
	require.Equal(t, "running", node.State)
	require.Equal(t, "1.2.3", node.Version)
	require.Equal(t, 1, node.Peers)
	require.NotZero(t, node.PublicKey)
	require.Equal(t, []uint64{1, 1}, []uint64{node.Pool[0].Leased, node.Pool[1].Leased})
	require.Empty(t, node.Problems)

	var repairs api.Repairs
	w.do(http.MethodPost, "/api/v1/node/sync", "").is(http.StatusOK).into(&repairs)
	require.Empty(t, repairs.Repairs)
}

func TestReady(t *testing.T) {
	w := newWorld(t)
	var health api.Health
	w.do(http.MethodGet, "/readyz", "", "X-Scopes", "").is(http.StatusOK).into(&health)
	require.Equal(t, api.Health{Status: "ok", Checks: []api.Check{
		{Name: "node", OK: true}, {Name: "store", OK: true}, {Name: "dataplane", OK: true},
	}}, health)
	w.dataplane.Intercept(func(_ context.Context, op wgnodetest.Op) error {
		if op == wgnodetest.OpStats {
			return errors.New("a secret of the host's")
		}
		return nil
	})
	defer w.dataplane.Intercept(nil) // the node's end reads counters
	r := w.do(http.MethodGet, "/readyz", "", "X-Scopes", "").is(http.StatusServiceUnavailable)
	r.into(&health)
	require.Equal(t, "failing", health.Status)
	require.False(t, health.Checks[2].OK)
	require.NotContains(t, string(r.body), "secret")
}
