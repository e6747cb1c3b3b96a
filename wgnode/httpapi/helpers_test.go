package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a node behind an API behind a server.
type world struct {
	t         testing.TB
	node      *wgnode.Node
	dataplane *wgnodetest.Dataplane
	api       *httpapi.API
	url       string
	client    *http.Client
	log       *bytes.Buffer
}

type option func(*wgnode.Config, *httpapi.Config)

// allScopes is sent as X-Scopes by who may do anything.
const allScopes = "peers:read peers:write node:admin"

// newWorld starts a node and a server. The middleware in front of the API takes the scopes from a header.
func newWorld(t testing.TB, options ...option) *world {
	w := &world{t: t, dataplane: wgnodetest.NewDataplane(), log: new(bytes.Buffer)}
	log, err := usagelog.Open(t.TempDir(), usagelog.Options{})
	require.NoError(t, err)
	node := wgnode.Config{Dataplane: w.dataplane, Endpoint: "vpn.example.com:51820", UsageLog: log}
	cfg := httpapi.Config{Version: "1.2.3", Logger: slog.New(slog.NewJSONHandler(w.log, nil))}
	for _, o := range options {
		o(&node, &cfg)
	}
	if node.UsageLog == nil {
		require.NoError(t, log.Close())
	}
	w.node, err = wgnode.New(node)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.node.Close()) })
	require.NoError(t, w.node.Start(t.Context()))
	cfg.Node = w.node
	w.api, err = httpapi.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(recognise(w.api))
	t.Cleanup(server.Close)
	w.url, w.client = server.URL, server.Client()
	return w
}

// recognise stands for the middleware that authenticates.
func recognise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "request-1")
		if scopes := r.Header.Get("X-Scopes"); scopes != "" {
			p := auth.Principal{Name: "test"}
			for scope := range strings.FieldsSeq(scopes) {
				p.Scopes = append(p.Scopes, auth.Scope(scope))
			}
			r = r.WithContext(auth.NewContext(r.Context(), p))
		}
		next.ServeHTTP(w, r)
	})
}

// reply is what came back.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// do makes a request of everybody's who may do anything. Headers come in pairs.
func (w *world) do(method, path, body string, headers ...string) reply {
	w.t.Helper()
	r, err := w.try(w.t.Context(), method, path, body, headers...)
	require.NoError(w.t, err)
	return r
}

// try is do for other goroutines.
func (w *world) try(ctx context.Context, method, path, body string, headers ...string) (reply, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, w.url+path, reader)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("X-Scopes", allScopes)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if request.Header.Del(headers[i]); headers[i+1] != "" {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := w.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{w.t, response.StatusCode, response.Header, text}
	return r, conforms(request, r)
}

// is demands a status.
func (r reply) is(status int) reply {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	return r
}

func (r reply) into(v any) {
	r.t.Helper()
	require.NoError(r.t, json.Unmarshal(r.body, v), "%s", r.body)
}

// refused demands a problem of a type, and returns it.
func (r reply) refused(status int, kind problem.Type) problem.Problem {
	r.t.Helper()
	r.is(status)
	require.Equal(r.t, problem.ContentType, r.header.Get("Content-Type"))
	var p problem.Problem
	r.into(&p)
	require.Equal(r.t, kind, p.Type, "%s", r.body)
	require.Equal(r.t, status, p.Status)
	require.Equal(r.t, "request-1", p.Instance)
	require.NotEmpty(r.t, p.Detail)
	return p
}

// faulty demands faults at locations.
func (r reply) faulty(locations ...string) problem.Problem {
	r.t.Helper()
	p := r.refused(http.StatusUnprocessableEntity, problem.Invalid)
	var found []string
	for _, f := range p.Faults {
		require.NotEmpty(r.t, f.Message)
		found = append(found, f.Location)
	}
	require.ElementsMatch(r.t, locations, found, "%s", r.body)
	return p
}

func (w *world) create(body string) api.CreatedPeer {
	w.t.Helper()
	var p api.CreatedPeer
	w.do(http.MethodPost, "/api/v1/peers", body).is(http.StatusCreated).into(&p)
	return p
}

func newKey(t testing.TB) wgtypes.Key {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return private.PublicKey()
}

func decoded[T any](r reply) T {
	var v T
	r.into(&v)
	return v
}

func prefixes(texts ...string) []netip.Prefix {
	var parsed []netip.Prefix
	for _, text := range texts {
		parsed = append(parsed, netip.MustParsePrefix(text))
	}
	return parsed
}
