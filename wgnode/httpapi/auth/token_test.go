package auth_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

func TestSignedRequestIsRecognised(t *testing.T) {
	public, private := newEd25519(t)
	ec := newECDSA(t)
	a := newAuth(t, auth.Config{Trust: auth.Trust{Audience: node, Keys: []auth.KeySource{
		{Type: auth.HMAC, ID: "h", Path: file(t, append(secret, '\n')), Scopes: auth.Scopes()},
		{Type: auth.PEM, ID: "e", Path: file(t, publicPEM(t, public)), Scopes: []auth.Scope{auth.PeersRead}},
		{Type: auth.PEM, ID: "p", Path: file(t, publicPEM(t, ec.Public())), Scopes: []auth.Scope{auth.NodeAdmin, auth.PeersWrite}},
	}}})
	url := serve(t, a)
	ed, err := sign.Ed25519("e", private)
	require.NoError(t, err)
	es, err := sign.ECDSA("p", ec)
	require.NoError(t, err)

	for _, c := range []struct {
		key    sign.Key
		scopes []auth.Scope
	}{
		{hmacKey(t, "h", secret), auth.Scopes()},
		{ed, []auth.Scope{auth.PeersRead}},
		{es, []auth.Scope{auth.PeersWrite, auth.NodeAdmin}},
	} {
		got := accepted(t, signed(t, c.key, http.MethodPost, url+"/api/v1/peers?b=2&a=%2f+x", `{"name":"x"}`))
		require.Equal(t, answer{
			Principal: auth.Principal{Name: "control-plane", Method: auth.MethodJWT, KeyID: c.key.ID(), Scopes: c.scopes},
			Body:      `{"name":"x"}`, Length: 12,
		}, got)
		accepted(t, signed(t, c.key, http.MethodGet, url, ""))
	}
	require.Equal(t, map[string]uint64{auth.MethodJWT: 6}, a.Stats().Accepted)
	require.Empty(t, a.Stats().Refused)
	require.Equal(t, 6, a.Stats().UsedTokens)
}

func TestTransportSignsEachRequest(t *testing.T) {
	url := serve(t, newAuth(t, auth.Config{Trust: hmacTrust()}))
	client := &http.Client{Transport: &sign.Transport{Key: hmacKey(t, "k1", secret), Claims: claims()}}
	for range 2 {
		req := request(t, http.MethodPut, url+"/x", "body")
		got := doBy(t, client, req)
		require.Equal(t, http.StatusOK, got.status, string(got.body))
		require.Empty(t, req.Header, "a RoundTripper leaves the request as it is")
	}
}

// Each claim that is wrong is refused, for the reason that it is.
func TestClaimThatIsWrong(t *testing.T) {
	a := newAuth(t, auth.Config{Trust: hmacTrust(), Failures: auth.Failures{Threshold: 1000}})
	url := serve(t, a)
	k := hmacKey(t, "k1", secret)
	const body = `{"a":1}`
	for _, c := range []struct {
		name   string
		change func(*sign.Payload)
		reason auth.Reason
		says   string
	}{
		{"sub is empty", func(p *sign.Payload) { p.Subject = "" }, auth.WrongClaims, "sub"},
		{"sub has a line break", func(p *sign.Payload) { p.Subject = "a\nb" }, auth.WrongClaims, "sub"},
		{"sub is long", func(p *sign.Payload) { p.Subject = strings.Repeat("a", 129) }, auth.WrongClaims, "sub"},
		{"aud is another node", func(p *sign.Payload) { p.Audience = "fra-2" }, auth.WrongAudience, `"fra-2"`},
		{"aud is empty", func(p *sign.Payload) { p.Audience = "" }, auth.WrongAudience, "aud"},
		{"iat is of the future", func(p *sign.Payload) { p.IssuedAt += 8; p.Expires += 8 }, auth.WrongTime, "future"},
		{"it has expired", func(p *sign.Payload) { p.IssuedAt -= 37; p.Expires -= 37 }, auth.WrongTime, "expired"},
		{"it lives too long", func(p *sign.Payload) { p.Expires = p.IssuedAt + 61 }, auth.WrongTime, "61 s"},
		{"it lives not at all", func(p *sign.Payload) { p.Expires = p.IssuedAt }, auth.WrongTime, "0 s"},
		{"exp is before iat", func(p *sign.Payload) { p.Expires = p.IssuedAt - 1 }, auth.WrongTime, "-1 s"},
		{"exp has no end", func(p *sign.Payload) { p.Expires = 1 << 60 }, auth.Malformed, "exp"},
		{"iat is negative", func(p *sign.Payload) { p.IssuedAt = -1 }, auth.Malformed, "iat"},
		{"jti is short", func(p *sign.Payload) { p.ID = "1" }, auth.WrongClaims, "jti"},
		{"jti is long", func(p *sign.Payload) { p.ID = strings.Repeat("1", 129) }, auth.WrongClaims, "jti"},
		{"htm is another method", func(p *sign.Payload) { p.Method = http.MethodPut }, auth.WrongRequest, "htm"},
		{"htm is in small letters", func(p *sign.Payload) { p.Method = "post" }, auth.WrongRequest, "htm"},
		{"path is another", func(p *sign.Payload) { p.Path = "/api/v1/peers/b" }, auth.WrongRequest, "path"},
		{"path is its parent", func(p *sign.Payload) { p.Path = "/api/v1/peers" }, auth.WrongRequest, "path"},
		{"path is decoded", func(p *sign.Payload) { p.Path = "/api/v1/peers/a+b/c" }, auth.WrongRequest, "path"},
		{"query is empty", func(p *sign.Payload) { p.Query = "" }, auth.WrongRequest, "query"},
		{"query is as it was sent", func(p *sign.Payload) { p.Query = "b=2&a=1" }, auth.WrongRequest, "query"},
		{"digest is of another body", func(p *sign.Payload) { p.Digest = sign.Digest([]byte(`{"a":2}`)) }, auth.WrongBody, "digest"},
		{"digest is of no body", func(p *sign.Payload) { p.Digest = sign.Digest(nil) }, auth.WrongBody, "digest"},
		{"digest is empty", func(p *sign.Payload) { p.Digest = "" }, auth.WrongBody, "digest"},
		{"digest has padding", func(p *sign.Payload) { p.Digest += "=" }, auth.WrongBody, "digest"},
		{"scope is empty", func(p *sign.Payload) { p.Scope = "" }, auth.MissingScope, "asks for"},
		{"scope is unknown", func(p *sign.Payload) { p.Scope = "peers:*" }, auth.MissingScope, "peers:*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := payload(http.MethodPost, "/api/v1/peers/a%2Bb%2Fc", "a=1&b=2", body)
			c.change(&p)
			token, err := sign.Token(k, p)
			require.NoError(t, err)
			before := a.Stats().Refused[c.reason]
			req := request(t, http.MethodPost, url+"/api/v1/peers/a%2Bb%2Fc?b=2&a=1", body)
			req.Header.Set("Authorization", "Bearer "+token)
			status := http.StatusUnauthorized
			if c.reason == auth.MissingScope {
				status = http.StatusForbidden
			}
			answer, _ := refused(t, req, status)
			require.Contains(t, answer.Detail, c.says)
			require.Equal(t, before+1, a.Stats().Refused[c.reason], a.Stats().Refused)
		})
	}
	require.Zero(t, a.Stats().UsedTokens, "a token that was refused is not used")
}

func TestTokenIsUsedOnce(t *testing.T) {
	a := newAuth(t, auth.Config{Trust: hmacTrust()})
	url := serve(t, a)
	req := signed(t, hmacKey(t, "k1", secret), http.MethodPost, url+"/x", "body")
	var accepted, replayed atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			again := req.Clone(t.Context())
			var err error
			if again.Body, err = req.GetBody(); err != nil {
				t.Error(err)
				return
			}
			res, err := http.DefaultClient.Do(again)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			switch res.StatusCode {
			case http.StatusOK:
				accepted.Add(1)
			case http.StatusUnauthorized:
				replayed.Add(1)
			}
		})
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, int64(1), accepted.Load())
	require.Equal(t, int64(9), replayed.Load())
	require.Equal(t, map[auth.Reason]uint64{auth.Replayed: 9}, a.Stats().Refused)
}

func TestNobodyIsTrusted(t *testing.T) {
	a := newAuth(t, auth.Config{})
	url := serve(t, a)
	answer, header := refused(t, request(t, http.MethodGet, url, ""), http.StatusUnauthorized)
	require.Equal(t, problem.Unauthenticated, answer.Type)
	require.Equal(t, `Bearer realm="waylume"`, header.Get("WWW-Authenticate"))
	refused(t, signed(t, hmacKey(t, "k1", secret), http.MethodGet, url, ""), http.StatusUnauthorized)
	plain := request(t, http.MethodGet, url, "")
	plain.Header.Set("Authorization", "Bearer "+string(secret))
	refused(t, plain, http.StatusUnauthorized)
	require.Equal(t, map[auth.Reason]uint64{auth.NoCredentials: 1, auth.UnknownKey: 1, auth.WrongBearer: 1}, a.Stats().Refused)
}
