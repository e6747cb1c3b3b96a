package guard_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/guard"
	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
)

func TestMain(m *testing.M) {
	// A connection that is closed with a complaint lingers for half a second, for the complaint to arrive.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

func ok(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, guard.RequestIDOf(r.Context())) }

// dialFrom connects from an address, as another host would.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// get sends a request, and returns the status: 0, if the server has closed the connection.
func get(t *testing.T, c net.Conn) int {
	t.Helper()
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: node\r\n\r\n")
	if err != nil {
		return 0
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

func serve(t *testing.T, cfg guard.ListenerConfig, server guard.ServerConfig) *guard.Listener {
	t.Helper()
	raw, err := net.Listen("tcp", hostAddress(t)+":0")
	require.NoError(t, err)
	l, err := guard.Listen(raw, cfg)
	require.NoError(t, err)
	s := guard.NewServer(http.HandlerFunc(ok), server)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l
}

// hostAddress is an address of this host beyond the loopback.
func hostAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr().String()
		}
	}
	testutil.Require(t, errors.New("needs an IPv4 address beside the loopback's"))
	return ""
}

func TestConnectionsPerSource(t *testing.T) {
	l := serve(t, guard.ListenerConfig{MaxPerSource: 2, Max: 5}, guard.ServerConfig{})
	to, from := l.Addr().String(), hostAddress(t)
	first, second := dialFrom(t, from, to), dialFrom(t, from, to)
	require.Equal(t, http.StatusOK, get(t, first))
	require.Equal(t, http.StatusOK, get(t, second))
	require.Equal(t, 0, get(t, dialFrom(t, from, to)))
	require.Equal(t, guard.ListenerStats{Open: 2, Sources: 1, Accepted: 2, RefusedSources: 1}, l.Stats())
	// A place that is left is another's.
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return l.Stats().Open == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, get(t, dialFrom(t, from, to)))
	require.NoError(t, second.Close())
}

func TestConnectionsInTotal(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := guard.Listen(raw, guard.ListenerConfig{MaxPerSource: 1, Max: 3})
	require.NoError(t, err)
	s := guard.NewServer(http.HandlerFunc(ok), guard.ServerConfig{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	for range 3 { // the loopback is one source that many share
		require.Equal(t, http.StatusOK, get(t, dialFrom(t, "127.0.0.1", l.Addr().String())))
	}
	require.Equal(t, 0, get(t, dialFrom(t, "127.0.0.1", l.Addr().String())))
	require.Equal(t, guard.ListenerStats{Open: 3, Accepted: 3, RefusedTotal: 1}, l.Stats())
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
	require.Zero(t, l.Stats().Open)
}

func TestListenRefusesNonsense(t *testing.T) {
	_, err := guard.Listen(nil, guard.ListenerConfig{Max: -1})
	require.ErrorContains(t, err, "-1 connections")
}

// Who sends the headers of a request byte by byte is not waited for; who sends more than there may be gets 431.
func TestServerBoundsHeaders(t *testing.T) {
	l := serve(t, guard.ListenerConfig{}, guard.ServerConfig{HeaderTimeout: 50 * time.Millisecond, MaxHeaderBytes: 1 << 10})
	c := dialFrom(t, hostAddress(t), l.Addr().String())
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: node\r\nX-A: ")
	require.NoError(t, err)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Empty(t, got)

	l = serve(t, guard.ListenerConfig{}, guard.ServerConfig{MaxHeaderBytes: 1 << 10})
	c = dialFrom(t, hostAddress(t), l.Addr().String())
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: node\r\nX-A: "+strings.Repeat("a", 16<<10)+"\r\n\r\n")
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
}

func TestRateLimit(t *testing.T) {
	now := time.Unix(1000, 0)
	limit, err := guard.RateLimit(guard.RateConfig{
		Name: "source", By: guard.BySource(nil), PerSecond: 0.5, Burst: 2, MaxKeys: 2, Now: func() time.Time { return now },
	})
	require.NoError(t, err)
	h := guard.RequestID(limit(http.HandlerFunc(ok)))
	ask := func(from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = from
		r.Header.Set("X-Forwarded-For", rand.Text()) // nobody's word
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, `"source";r=1;t=0`, ask("[2001:db8::1]:1").Header().Get("RateLimit"))
	require.Equal(t, http.StatusOK, ask("[2001:db8::2]:1").Code)
	// A host has a /64 for itself.
	w := ask("[2001:db8::3]:1")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "2", w.Header().Get("Retry-After"))
	require.Equal(t, `"source";r=0;t=2`, w.Header().Get("RateLimit"))
	require.Equal(t, `"source";q=2;w=4`, w.Header().Get("RateLimit-Policy"))
	require.Contains(t, w.Body.String(), `"type":"/problems/rate-limited"`)
	require.Contains(t, w.Body.String(), `"instance":"`+w.Header().Get("X-Request-Id")+`"`)
	require.Equal(t, http.StatusOK, ask("[2001:db8:0:1::1]:1").Code)
	now = now.Add(time.Second)
	require.Equal(t, "1", ask("[2001:db8::3]:1").Header().Get("Retry-After"))
	now = now.Add(time.Second)
	require.Equal(t, http.StatusOK, ask("[2001:db8::3]:1").Code)
	require.Equal(t, http.StatusTooManyRequests, ask("[2001:db8::3]:1").Code)
}

func TestRateLimitByPrincipal(t *testing.T) {
	now := time.Unix(1000, 0)
	limit, err := guard.RateLimit(guard.RateConfig{
		Name: "key", By: guard.ByPrincipal, PerSecond: 1, Burst: 1, Now: func() time.Time { return now },
	})
	require.NoError(t, err)
	h := limit(http.HandlerFunc(ok))
	ask := func(p *auth.Principal) int {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if p != nil {
			r = r.WithContext(auth.NewContext(r.Context(), *p))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusOK, ask(&auth.Principal{Name: "a", Method: auth.MethodJWT, KeyID: "k"}))
	// One key is one limit, whatever it calls itself.
	require.Equal(t, http.StatusTooManyRequests, ask(&auth.Principal{Name: "b", Method: auth.MethodJWT, KeyID: "k"}))
	require.Equal(t, http.StatusOK, ask(&auth.Principal{Name: "k", Method: auth.MethodMTLS}))
	require.Equal(t, http.StatusOK, ask(nil))
	require.Equal(t, http.StatusOK, ask(nil))
}

func TestRateLimitRefusesNonsense(t *testing.T) {
	_, err := guard.RateLimit(guard.RateConfig{})
	require.ErrorContains(t, err, "Name")
	require.ErrorContains(t, err, "By")
	require.ErrorContains(t, err, "PerSecond")
}

func TestRequestID(t *testing.T) {
	h := guard.RequestID(http.HandlerFunc(ok))
	for given, keeps := range map[string]bool{
		"a-B_9": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "": false, "a b": false, "a\nb": false,
		"é": false, `"`: false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set(guard.RequestIDHeader, given)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		id := w.Header().Get(guard.RequestIDHeader)
		require.Equal(t, id, w.Body.String())
		require.Equal(t, keeps, id == given, "%q %q", given, id)
		require.Equal(t, given, r.Header.Get(guard.RequestIDHeader), "the caller's request is left as it is")
		if !keeps {
			require.Len(t, id, 26)
		}
	}
	require.Empty(t, guard.RequestIDOf(t.Context()))
}

func TestHeaders(t *testing.T) {
	plain := httptest.NewServer(guard.Headers(http.HandlerFunc(ok)))
	defer plain.Close()
	secure := httptest.NewTLSServer(guard.Headers(http.HandlerFunc(ok)))
	defer secure.Close()
	for _, s := range []*httptest.Server{plain, secure} {
		res, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.Equal(t, s == secure, res.Header.Get("Strict-Transport-Security") != "")
	}
}

func TestSourcesBehindAProxy(t *testing.T) {
	sources, err := source.New(source.XForwardedFor, netip.MustParsePrefix("10.0.0.0/8"))
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	key, ok := guard.BySource(sources)(r)
	require.True(t, ok)
	require.Equal(t, "203.0.113.9/32", key)
}
