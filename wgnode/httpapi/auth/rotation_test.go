package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// A rotation: the new key is taken beside the old, which then ends, while requests go on.
func TestRotation(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Unix())
	a := newAuth(t, auth.Config{Trust: hmacTrust(), Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	url := serve(t, a)
	former, next := hmacKey(t, "k1", secret), hmacKey(t, "k2", []byte(plainToken))
	accepted(t, signed(t, former, http.MethodGet, url, ""))
	refused(t, signed(t, next, http.MethodGet, url, ""), http.StatusUnauthorized)

	trust := hmacTrust()
	trust.Keys[0].NotAfter = time.Unix(now.Load()+2, 0)
	trust.Keys = append(trust.Keys, auth.KeySource{Type: auth.HMAC, ID: "k2", Secret: []byte(plainToken), Scopes: auth.Scopes()})
	require.NoError(t, a.Reload(trust))
	accepted(t, signed(t, former, http.MethodGet, url, ""))
	accepted(t, signed(t, next, http.MethodGet, url, ""))
	now.Add(3)
	answer, _ := refused(t, signed(t, former, http.MethodGet, url, ""), http.StatusUnauthorized)
	require.Contains(t, answer.Detail, "has ended")
	accepted(t, signed(t, next, http.MethodGet, url, ""))

	// What is wrong changes nothing.
	require.ErrorContains(t, a.Reload(auth.Trust{Audience: node, Keys: []auth.KeySource{{Type: auth.HMAC, ID: "k3"}}}), "Keys[0]")
	accepted(t, signed(t, next, http.MethodGet, url, ""))
	// A token that was used stays so.
	req := signed(t, next, http.MethodGet, url, "")
	again := req.Clone(t.Context())
	accepted(t, req)
	require.NoError(t, a.Reload(trust))
	refused(t, again, http.StatusUnauthorized)
}

// jwksServer serves a JWK Set that can be changed.
type jwksServer struct {
	*httptest.Server
	body   atomic.Pointer[string]
	status atomic.Int64
}

func newJWKS(t *testing.T) *jwksServer {
	t.Helper()
	s := &jwksServer{}
	s.status.Store(http.StatusOK)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(s.status.Load()))
		_, _ = w.Write([]byte(*s.body.Load()))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *jwksServer) serve(t *testing.T, keys map[string]ed25519.PublicKey) {
	t.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	set.Keys = []map[string]string{}
	for id, k := range keys {
		set.Keys = append(set.Keys, map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": id,
			"x": base64.RawURLEncoding.EncodeToString(k)})
	}
	data, err := json.Marshal(set)
	require.NoError(t, err)
	text := string(data)
	s.body.Store(&text)
}

func TestJWKSURL(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Unix())
	s := newJWKS(t)
	public1, private1 := newEd25519(t)
	public2, private2 := newEd25519(t)
	s.serve(t, map[string]ed25519.PublicKey{"1": public1})
	trust := auth.Trust{Audience: node, Keys: []auth.KeySource{{
		Type: auth.JWKSURL, URL: s.URL, Retry: 10 * time.Second, Refresh: time.Hour, MaxStale: 2 * time.Hour,
		Scopes: []auth.Scope{auth.PeersRead},
	}}}
	a := newAuth(t, auth.Config{Trust: trust, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	url := serve(t, a)
	one, err := sign.Ed25519("1", private1)
	require.NoError(t, err)
	two, err := sign.Ed25519("2", private2)
	require.NoError(t, err)
	at := func(k sign.Key) *http.Request {
		req := request(t, http.MethodGet, url, "")
		c := claims()
		c.Now = func() time.Time { return time.Unix(now.Load(), 0) }
		require.NoError(t, sign.Request(req, k, c))
		return req
	}

	require.Equal(t, []auth.Scope{auth.PeersRead}, accepted(t, at(one)).Principal.Scopes)
	// A key that is published is found when a token names it, though not twice within Retry.
	s.serve(t, map[string]ed25519.PublicKey{"1": public1, "2": public2})
	refused(t, at(two), http.StatusUnauthorized)
	require.Equal(t, uint64(1), a.Stats().Remotes[0].Fetches)
	now.Add(10)
	accepted(t, at(two))
	require.Equal(t, uint64(2), a.Stats().Remotes[0].Fetches)

	// A reload that leaves the URL as it is keeps what it had, also while it is down.
	s.status.Store(http.StatusInternalServerError)
	require.NoError(t, a.Reload(trust))
	accepted(t, at(two))
	now.Add(int64(2 * time.Hour / time.Second))
	accepted(t, at(one))
	now.Add(1)
	answer, header := refused(t, at(one), http.StatusServiceUnavailable)
	require.Contains(t, answer.Detail, "could not fetch the keys")
	require.NotEmpty(t, header.Get("Retry-After"))
	require.Contains(t, a.Stats().Remotes[0].LastError, "status 500")
	require.Equal(t, uint64(1), a.Stats().Remotes[0].Stale)
	require.Equal(t, uint64(1), a.Stats().Refused[auth.KeysStale])
	// It is back, without the first key.
	s.status.Store(http.StatusOK)
	s.serve(t, map[string]ed25519.PublicKey{"2": public2})
	now.Add(10)
	accepted(t, at(two))
	refused(t, at(one), http.StatusUnauthorized)
	require.Empty(t, a.Stats().Remotes[0].LastError)

	// Without the URL its keys are gone.
	require.NoError(t, a.Reload(auth.Trust{}))
	refused(t, at(two), http.StatusUnauthorized)
}
