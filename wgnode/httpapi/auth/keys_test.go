package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// forge signs a payload with any algorithm and header.
func forge(t *testing.T, method jwt.SigningMethod, header map[string]any, key any, p sign.Payload) string {
	t.Helper()
	data, err := json.Marshal(p)
	require.NoError(t, err)
	var m jwt.MapClaims
	require.NoError(t, json.Unmarshal(data, &m))
	m["iat"], m["exp"] = p.IssuedAt, p.Expires
	token := jwt.NewWithClaims(method, m)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

// What checks a token is its key, and no word of the token's.
func TestConfusion(t *testing.T) {
	public, private := newEd25519(t)
	ec := newECDSA(t)
	edPEM, ecPEM := publicPEM(t, public), publicPEM(t, ec.Public())
	other := []byte("another secret, as long as one is")
	a := newAuth(t, auth.Config{Failures: auth.Failures{Threshold: 1000}, Trust: auth.Trust{Audience: node, Keys: []auth.KeySource{
		{Type: auth.HMAC, ID: "h", Secret: secret, Scopes: auth.Scopes()},
		{Type: auth.HMAC, ID: "h2", Secret: other, Scopes: []auth.Scope{auth.PeersRead}},
		{Type: auth.PEM, ID: "e", Path: file(t, edPEM), Scopes: auth.Scopes()},
		{Type: auth.PEM, ID: "p", Path: file(t, ecPEM), Scopes: auth.Scopes()},
	}}})
	url := serve(t, a)
	for _, c := range []struct {
		name   string
		method jwt.SigningMethod
		header map[string]any
		key    any
		reason auth.Reason
	}{
		{"HS256 with the PEM of ES256's key", jwt.SigningMethodHS256, map[string]any{"kid": "p"}, ecPEM, auth.WrongAlgorithm},
		{"HS256 with the PEM of EdDSA's key", jwt.SigningMethodHS256, map[string]any{"kid": "e"}, edPEM, auth.WrongAlgorithm},
		{"HS256 with the bytes of EdDSA's key", jwt.SigningMethodHS256, map[string]any{"kid": "e"}, []byte(public), auth.WrongAlgorithm},
		{"HS256 called EdDSA", jwt.SigningMethodHS256, map[string]any{"kid": "e", "alg": "EdDSA"}, edPEM, auth.WrongSignature},
		{"none", jwt.SigningMethodNone, map[string]any{"kid": "h"}, jwt.UnsafeAllowNoneSignatureType, auth.WrongAlgorithm},
		{"none called HS256", jwt.SigningMethodNone, map[string]any{"kid": "h", "alg": "HS256"}, jwt.UnsafeAllowNoneSignatureType, auth.WrongSignature},
		{"an algorithm that there is not", jwt.SigningMethodHS256, map[string]any{"kid": "h", "alg": "NONE"}, secret, auth.WrongAlgorithm},
		{"HS512", jwt.SigningMethodHS512, map[string]any{"kid": "h"}, secret, auth.WrongAlgorithm},
		{"EdDSA under HS256's kid", jwt.SigningMethodEdDSA, map[string]any{"kid": "h"}, private, auth.WrongAlgorithm},
		{"EdDSA under ES256's kid", jwt.SigningMethodEdDSA, map[string]any{"kid": "p", "alg": "ES256"}, private, auth.WrongSignature},
		{"one secret under the other's kid", jwt.SigningMethodHS256, map[string]any{"kid": "h"}, other, auth.WrongSignature},
		{"unknown kid", jwt.SigningMethodHS256, map[string]any{"kid": "x"}, secret, auth.UnknownKey},
		{"kid in capitals", jwt.SigningMethodHS256, map[string]any{"kid": "H"}, secret, auth.UnknownKey},
		{"no kid", jwt.SigningMethodHS256, nil, secret, auth.Malformed},
		{"kid is a path", jwt.SigningMethodHS256, map[string]any{"kid": "../../dev/null"}, []byte{}, auth.UnknownKey},
		{"kid is a list", jwt.SigningMethodHS256, map[string]any{"kid": []string{"h"}}, secret, auth.Malformed},
		{"its own key", jwt.SigningMethodHS256, map[string]any{"kid": "h", "jwk": map[string]string{"kty": "oct", "k": "AAAA"}}, secret, auth.Malformed},
		{"where its key is", jwt.SigningMethodHS256, map[string]any{"kid": "h", "jku": "https://example.com"}, secret, auth.Malformed},
		{"crit", jwt.SigningMethodHS256, map[string]any{"kid": "h", "crit": []string{"exp"}}, secret, auth.Malformed},
		{"typ", jwt.SigningMethodHS256, map[string]any{"kid": "h", "typ": "at+jwt"}, secret, auth.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := a.Stats().Refused[c.reason]
			req := request(t, http.MethodGet, url+"/", "")
			req.Header.Set("Authorization", "Bearer "+forge(t, c.method, c.header, c.key, payload(http.MethodGet, "/", "", "")))
			refused(t, req, http.StatusUnauthorized)
			require.Equal(t, before+1, a.Stats().Refused[c.reason], a.Stats().Refused)
		})
	}
	// The same, done well.
	req := request(t, http.MethodGet, url+"/", "")
	req.Header.Set("Authorization", "Bearer "+forge(t, jwt.SigningMethodHS256, map[string]any{"kid": "h"}, secret, payload(http.MethodGet, "/", "", "")))
	accepted(t, req)
	// A key gives what it may, whatever is asked.
	require.Equal(t, []auth.Scope{auth.PeersRead}, accepted(t, signed(t, hmacKey(t, "h2", other), http.MethodGet, url, "")).Principal.Scopes)
}

func TestKeysThatAreRefused(t *testing.T) {
	exposed := file(t, secret)
	require.NoError(t, os.Chmod(exposed, 0o644)) //nolint:gosec // that is the mistake
	for name, sources := range map[string][]auth.KeySource{
		"the same key":        {{Type: auth.HMAC, ID: "a", Secret: secret}, {Type: auth.HMAC, ID: "b", Path: file(t, secret)}},
		`two have the id "a"`: {{Type: auth.HMAC, ID: "a", Secret: secret}, {Type: auth.HMAC, ID: "a", Secret: []byte(plainToken)}},
		"has 31 bytes":        {{Type: auth.HMAC, ID: "a", Secret: secret[1:]}},
		"it is PEM":           {{Type: auth.HMAC, ID: "a", Path: file(t, publicPEM(t, newECDSA(t).Public()))}},
		"chmod 600":           {{Type: auth.HMAC, ID: "a", Path: exposed}},
		"no such file":        {{Type: auth.PEM, ID: "a", Path: "nowhere"}},
		"visible ASCII":       {{Type: auth.HMAC, ID: "a b", Secret: secret}},
		"has not an ID":       {{Type: auth.PEM, Path: "x"}},
		"leave it out":        {{Type: auth.JWKS, ID: "a", Path: "x"}},
		`type "rsa"`:          {{Type: "rsa"}},
		"by https":            {{Type: auth.JWKSURL, URL: "http://example.com/keys"}},
		"there twice":         {{Type: auth.JWKSURL, URL: "https://example.com/"}, {Type: auth.JWKSURL, URL: "https://example.com/"}},
	} {
		for i := range sources {
			sources[i].Scopes = auth.Scopes()
		}
		_, err := auth.New(auth.Config{Trust: auth.Trust{Audience: node, Keys: sources}})
		require.ErrorContains(t, err, name)
	}
	// All that is wrong is said at once.
	_, err := auth.New(auth.Config{Skew: time.Hour, MaxBody: -1, Trust: auth.Trust{
		Keys:         []auth.KeySource{{Type: auth.HMAC, ID: "a", Secret: secret}},
		Bearers:      []auth.Bearer{{Name: "b", Secret: []byte("short"), Scopes: auth.Scopes()}, {Name: "c", Secret: []byte(plainToken + "."), Scopes: auth.Scopes()}},
		Users:        []auth.User{{UID: 1, Scopes: []auth.Scope{"root"}}},
		Certificates: []auth.Certificate{{CommonName: "a", DNS: "b", Scopes: auth.Scopes()}},
	}})
	for _, what := range []string{"Skew", "MaxBody", "Audience", "Keys[0]: no scopes", "Bearers[0]", "Bearers[1]", `Users[0]: scope "root"`, "Certificates[0]"} {
		require.ErrorContains(t, err, what)
	}
	require.NotContains(t, err.Error(), plainToken)
	require.NotContains(t, err.Error(), "short")
}

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
		set.Keys = append(set.Keys, map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": base64.RawURLEncoding.EncodeToString(k)})
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
		Type: auth.JWKSURL, URL: s.URL, Retry: 10 * time.Second, Refresh: time.Hour, MaxStale: 2 * time.Hour, Scopes: []auth.Scope{auth.PeersRead},
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
		{&auth.Principal{Scopes: []auth.Scope{auth.NodeAdmin}}, http.StatusForbidden, `Bearer realm="waylume", error="insufficient_scope", scope="peers:write"`},
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
