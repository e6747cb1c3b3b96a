package guard_test

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/guard"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// All of it, as docs/trust.md puts it together: a request goes through with its id, others are told what they lack.
func TestChain(t *testing.T) {
	secret := make([]byte, 32)
	a, err := auth.New(auth.Config{UsedTokens: filepath.Join(t.TempDir(), "used"), Trust: auth.Trust{
		Audience: "fra-1",
		Keys:     []auth.KeySource{{Type: auth.HMAC, ID: "k", Secret: secret, Scopes: []auth.Scope{auth.PeersRead, auth.PeersWrite}}},
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	bySource, err := guard.RateLimit(guard.RateConfig{Name: "source", By: guard.BySource(nil), PerSecond: 0.001, Burst: 6})
	require.NoError(t, err)
	byKey, err := guard.RateLimit(guard.RateConfig{Name: "key", By: guard.ByPrincipal, PerSecond: 0.001, Burst: 2})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("POST /peers", auth.Require(auth.PeersWrite)(http.HandlerFunc(ok)))
	mux.Handle("POST /drain", auth.Require(auth.NodeAdmin)(http.HandlerFunc(ok)))
	handler := guard.RequestID(guard.Headers(bySource(a.Middleware(byKey(mux)))))

	raw, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := guard.Listen(raw, guard.ListenerConfig{})
	require.NoError(t, err)
	s := guard.NewServer(handler, guard.ServerConfig{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	defer func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	}()

	key, err := sign.HMAC("k", secret)
	require.NoError(t, err)
	claims := sign.Claims{Subject: "control-plane", Audience: "fra-1", Scopes: []string{"peers:write", "node:admin"}}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	signs := &http.Client{Transport: &sign.Transport{Key: key, Claims: claims, Base: transport}}
	plain := &http.Client{Transport: transport}
	for i, c := range []struct {
		client *http.Client
		path   string
		status int
		says   string
	}{
		{signs, "/peers", http.StatusOK, "id-0"},
		{signs, "/drain", http.StatusForbidden, "node:admin"},
		{signs, "/peers", http.StatusTooManyRequests, `limit \"key\"`},
		{plain, "/peers", http.StatusUnauthorized, "does not say who makes it"},
		{signs, "/peers", http.StatusTooManyRequests, `limit \"key\"`},
		{plain, "/peers", http.StatusUnauthorized, `"instance":"id-5"`},
		{signs, "/peers", http.StatusTooManyRequests, `limit \"source\"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+c.path, http.NoBody)
		require.NoError(t, err)
		id := "id-" + string(rune('0'+i))
		req.Header.Set(guard.RequestIDHeader, id)
		res, err := c.client.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, c.status, res.StatusCode, "%d: %s", i, body)
		require.Contains(t, string(body), c.says)
		require.Equal(t, id, res.Header.Get(guard.RequestIDHeader))
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	}
}
