package idempotency_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an HTTP server behind the middleware, over real sockets. The header X-Principal says who asks.
type world struct {
	t      require.TestingT
	store  idempotency.Store
	keys   *idempotency.Keys
	server *httptest.Server
}

func newWorld(t require.TestingT, cfg idempotency.Config, handler http.HandlerFunc) *world {
	keys, err := idempotency.New(ctx, cfg)
	require.NoError(t, err)
	w := &world{t: t, store: cfg.Store, keys: keys}
	inner := keys.Middleware(handler)
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Request-Id", r.Header.Get("X-Send-Id"))
		if name := r.Header.Get("X-Principal"); name != "" {
			r = r.WithContext(auth.NewContext(r.Context(), auth.Principal{Name: name, Method: "jwt"}))
		}
		defer func() {
			if recover() != nil {
				rw.WriteHeader(http.StatusInternalServerError)
			}
		}()
		inner.ServeHTTP(rw, r)
	}))
	return w
}

func (w *world) close() {
	w.server.Client().CloseIdleConnections()
	w.server.Close()
}

type request struct {
	method, path, key, body, principal string
	header                             map[string]string
}

type reply struct {
	status   int
	body     string
	replayed bool
	header   http.Header
}

func (w *world) send(q request) (reply, error) {
	if q.method == "" {
		q.method = http.MethodPost
	}
	if q.path == "" {
		q.path = "/peers"
	}
	r, err := http.NewRequestWithContext(ctx, q.method, w.server.URL+q.path, bytes.NewBufferString(q.body))
	if err != nil {
		return reply{}, err
	}
	if q.key != "" {
		r.Header.Set(idempotency.Header, q.key)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Principal", q.principal)
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	res, err := w.server.Client().Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, string(body), res.Header.Get(idempotency.ReplayedHeader) == "true", res.Header}, err
}

func (w *world) do(q request) reply {
	got, err := w.send(q)
	require.NoError(w.t, err)
	return got
}

// refused requires a problem of a kind.
func (w *world) refused(q request, status int, kind string) reply {
	got := w.do(q)
	require.Equal(w.t, status, got.status, got.body)
	require.Equal(w.t, "application/problem+json", got.header.Get("Content-Type"))
	require.Contains(w.t, got.body, fmt.Sprintf(`"type":"/problems/%s"`, kind))
	require.False(w.t, got.replayed)
	return got
}

const soon = 10 * time.Second // for what comes at once
