package auth_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// A process that is killed leaves what it knew to the one that follows, if there are files; else that one waits.
func TestRestart(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Unix())
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	path := filepath.Join(t.TempDir(), "used")
	k := hmacKey(t, "k1", secret)

	first := newAuth(t, auth.Config{Trust: hmacTrust(), UsedTokens: path, Now: clock})
	firstURL := serve(t, first)
	req := signed(t, k, http.MethodGet, firstURL, "")
	header := req.Header.Clone()
	accepted(t, req)
	unused := signed(t, k, http.MethodGet, firstURL, "").Header

	// The first is not closed: it is as if it were killed.
	again := func(a *auth.Authenticator, h http.Header) *http.Request {
		r := request(t, http.MethodGet, serve(t, a), "")
		r.Header = h
		return r
	}
	second := newAuth(t, auth.Config{Trust: hmacTrust(), UsedTokens: path, Now: clock})
	refused(t, again(second, header), http.StatusUnauthorized)
	accepted(t, again(second, unused))
	require.Equal(t, map[auth.Reason]uint64{auth.Replayed: 1}, second.Stats().Refused)

	third, err := auth.New(auth.Config{Trust: hmacTrust(), Now: clock})
	require.NoError(t, err)
	defer func() { require.NoError(t, third.Close()) }()
	answer, retry := refused(t, again(third, header), http.StatusServiceUnavailable)
	require.Contains(t, answer.Detail, "has started")
	require.Equal(t, "6", retry.Get("Retry-After"))
	now.Add(6)
	refused(t, again(third, header), http.StatusServiceUnavailable)
	late := request(t, http.MethodGet, serve(t, third), "")
	c := claims()
	c.Now = clock
	require.NoError(t, sign.Request(late, k, c))
	accepted(t, late)
	require.Equal(t, map[auth.Reason]uint64{auth.Starting: 2}, third.Stats().Refused)
}

func TestBodies(t *testing.T) {
	a := newAuth(t, auth.Config{Trust: hmacTrust(), MaxBody: 10})
	url := serve(t, a)
	k := hmacKey(t, "k1", secret)
	accepted(t, signed(t, k, http.MethodPost, url, "0123456789"))
	refused(t, signed(t, k, http.MethodPost, url, "0123456789a"), http.StatusRequestEntityTooLarge)
	// Of a length that is not said before.
	req := signed(t, k, http.MethodPost, url, "0123456789a")
	req.ContentLength, req.GetBody = -1, nil
	refused(t, req, http.StatusRequestEntityTooLarge)
	req = signed(t, k, http.MethodPost, url, "0123456789")
	req.ContentLength, req.GetBody = -1, nil
	require.Equal(t, int64(10), accepted(t, req).Length)
	require.Equal(t, map[auth.Reason]uint64{auth.BodyTooLarge: 2}, a.Stats().Refused)
}

func TestTokensBeyondTheBound(t *testing.T) {
	a := newAuth(t, auth.Config{Trust: hmacTrust(), MaxUsedTokens: 2})
	url := serve(t, a)
	k := hmacKey(t, "k1", secret)
	used := signed(t, k, http.MethodGet, url, "")
	again := used.Clone(t.Context())
	accepted(t, used)
	accepted(t, signed(t, k, http.MethodGet, url, ""))
	_, header := refused(t, signed(t, k, http.MethodGet, url, ""), http.StatusServiceUnavailable)
	require.Equal(t, "1", header.Get("Retry-After"))
	refused(t, again, http.StatusUnauthorized)
	require.Equal(t, map[auth.Reason]uint64{auth.TooManyTokens: 1, auth.Replayed: 1}, a.Stats().Refused)
}

func TestRequire(t *testing.T) {
	h := auth.Require(auth.PeersWrite)(http.HandlerFunc(echo))
	for _, c := range []struct {
		principal *auth.Principal
		status    int
		challenge string
	}{
		{nil, http.StatusUnauthorized, `Bearer realm="waylume"`},
		{&auth.Principal{Scopes: []auth.Scope{auth.NodeAdmin}}, http.StatusForbidden,
			`Bearer realm="waylume", error="insufficient_scope", scope="peers:write"`},
		{&auth.Principal{Scopes: auth.Scopes()}, http.StatusOK, ""},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		if c.principal != nil {
			req = req.WithContext(auth.NewContext(req.Context(), *c.principal))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		require.Equal(t, c.status, w.Code)
		require.Equal(t, c.challenge, w.Header().Get("WWW-Authenticate"))
	}
}
