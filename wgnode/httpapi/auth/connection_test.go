package auth_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/guard"
)

const plainToken = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func bearerTrust() auth.Trust {
	return auth.Trust{Bearers: []auth.Bearer{
		{Name: "other", Secret: []byte(plainToken[1:] + "0"), Scopes: auth.Scopes()},
		{Name: "cli", Secret: []byte(plainToken), Scopes: []auth.Scope{auth.PeersRead}},
	}}
}

func withBearer(t *testing.T, url, token string) *http.Request {
	t.Helper()
	req := request(t, http.MethodGet, url, "")
	req.Header.Set("Authorization", "bearer "+token)
	return req
}

func TestPlainTokenOnTheLoopback(t *testing.T) {
	a := newAuth(t, auth.Config{Trust: bearerTrust()})
	url := serve(t, a)
	got := accepted(t, withBearer(t, url, plainToken))
	require.Equal(t, auth.Principal{Name: "cli", Method: auth.MethodBearer, Scopes: []auth.Scope{auth.PeersRead}}, got.Principal)
	refused(t, withBearer(t, url, plainToken+"0"), http.StatusUnauthorized)
	refused(t, withBearer(t, url, plainToken[1:]), http.StatusUnauthorized)
	// Whoever a proxy on this host asks for is not on it.
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"} {
		req := withBearer(t, url, plainToken)
		req.Header.Set(header, "127.0.0.1")
		answer, _ := refused(t, req, http.StatusUnauthorized)
		require.Contains(t, answer.Detail, "proxy")
	}
	require.Equal(t, map[auth.Reason]uint64{auth.WrongBearer: 2, auth.RemoteBearer: 4}, a.Stats().Refused)
}

// A plain token that comes through another address of this host than the loopback's is refused, whatever the headers say.
func TestPlainTokenFromElsewhere(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	a := newAuth(t, auth.Config{Trust: bearerTrust()})
	tried := 0
	for _, addr := range addrs {
		p, err := netip.ParsePrefix(addr.String())
		if err != nil || !p.Addr().Is4() || p.Addr().IsLoopback() {
			continue
		}
		url := serveOn(t, a, p.Addr().String()+":0")
		req := withBearer(t, url, plainToken)
		req.Host = "localhost"
		answer, _ := refused(t, req, http.StatusUnauthorized)
		require.Contains(t, answer.Detail, "loopback")
		tried++
	}
	if tried == 0 {
		testutil.Require(t, errors.New("needs an IPv4 address beside the loopback's"))
	}
	// Nor counts a request of which nobody knows how it came, or one whose other end is elsewhere.
	for name, ctx := range map[string]context.Context{
		"unknown":            t.Context(),
		"the other end only": context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}),
		"this end only":      context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
	} {
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
		req.Header.Set("Authorization", "Bearer "+plainToken)
		if req.RemoteAddr = "192.0.2.7:1"; name == "the other end only" {
			req.RemoteAddr = "127.0.0.1:1"
		}
		w := httptest.NewRecorder()
		a.Middleware(http.HandlerFunc(echo)).ServeHTTP(w, req)
		require.Equal(t, http.StatusUnauthorized, w.Code, name)
	}
}

func TestUnixSocket(t *testing.T) {
	me := uint32(os.Getuid())
	for _, c := range []struct {
		name   string
		users  []auth.User
		header string
		token  string
		status int
	}{
		{"a user who may", []auth.User{{UID: me, Scopes: []auth.Scope{auth.NodeAdmin}}}, "", "", http.StatusOK},
		{"another user", []auth.User{{UID: me + 1, Scopes: auth.Scopes()}}, "", "", http.StatusForbidden},
		{"no user may", nil, "", "", http.StatusUnauthorized},
		{"a proxy of a user's who may", []auth.User{{UID: me, Scopes: auth.Scopes()}}, "X-Forwarded-For", "", http.StatusForbidden},
		{"a plain token", nil, "", plainToken, http.StatusOK},
		{"a wrong token is not made good by the user", []auth.User{{UID: me, Scopes: auth.Scopes()}}, "", plainToken[1:],
			http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			trust := bearerTrust()
			trust.Users = c.users
			a := newAuth(t, auth.Config{Trust: trust})
			path := filepath.Join(t.TempDir(), "s")
			raw, err := net.Listen("unix", path)
			require.NoError(t, err)
			l, err := guard.Listen(raw, guard.ListenerConfig{}) // which wraps connections
			require.NoError(t, err)
			s := guard.NewServer(a.Middleware(http.HandlerFunc(echo)), guard.ServerConfig{})
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			defer func() {
				require.NoError(t, s.Close())
				require.ErrorIs(t, <-done, http.ErrServerClosed)
			}()
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", path)
			}}}
			req := request(t, http.MethodGet, "http://node/", "")
			if c.header != "" {
				req.Header.Set(c.header, "203.0.113.9")
			}
			if c.token != "" {
				req.Header.Set("Authorization", "Bearer "+c.token)
			}
			got := doBy(t, client, req)
			require.Equal(t, c.status, got.status, string(got.body))
			if c.status == http.StatusOK && c.token == "" {
				require.Contains(t, string(got.body), `"Name":"unix:`+strconv.Itoa(os.Getuid())+`","Method":"unix"`)
			}
		})
	}
}
