package auth_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
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
		{"HS256 with the bytes of EdDSA's key", jwt.SigningMethodHS256, map[string]any{"kid": "e"}, []byte(public),
			auth.WrongAlgorithm},
		{"HS256 called EdDSA", jwt.SigningMethodHS256, map[string]any{"kid": "e", "alg": "EdDSA"}, edPEM, auth.WrongSignature},
		{"none", jwt.SigningMethodNone, map[string]any{"kid": "h"}, jwt.UnsafeAllowNoneSignatureType, auth.WrongAlgorithm},
		{"none called HS256", jwt.SigningMethodNone, map[string]any{"kid": "h", "alg": "HS256"}, jwt.UnsafeAllowNoneSignatureType,
			auth.WrongSignature},
		{"an algorithm that there is not", jwt.SigningMethodHS256, map[string]any{"kid": "h", "alg": "NONE"}, secret,
			auth.WrongAlgorithm},
		{"HS512", jwt.SigningMethodHS512, map[string]any{"kid": "h"}, secret, auth.WrongAlgorithm},
		{"EdDSA under HS256's kid", jwt.SigningMethodEdDSA, map[string]any{"kid": "h"}, private, auth.WrongAlgorithm},
		{"EdDSA under ES256's kid", jwt.SigningMethodEdDSA, map[string]any{"kid": "p", "alg": "ES256"}, private, auth.WrongSignature},
		{"one secret under the other's kid", jwt.SigningMethodHS256, map[string]any{"kid": "h"}, other, auth.WrongSignature},
		{"unknown kid", jwt.SigningMethodHS256, map[string]any{"kid": "x"}, secret, auth.UnknownKey},
		{"kid in capitals", jwt.SigningMethodHS256, map[string]any{"kid": "H"}, secret, auth.UnknownKey},
		{"no kid", jwt.SigningMethodHS256, nil, secret, auth.Malformed},
		{"kid is a path", jwt.SigningMethodHS256, map[string]any{"kid": "../../dev/null"}, []byte{}, auth.UnknownKey},
		{"kid is a list", jwt.SigningMethodHS256, map[string]any{"kid": []string{"h"}}, secret, auth.Malformed},
		{"its own key", jwt.SigningMethodHS256, map[string]any{"kid": "h", "jwk": map[string]string{"kty": "oct", "k": "AAAA"}},
			secret, auth.Malformed},
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
	req.Header.Set("Authorization", "Bearer "+forge(t, jwt.SigningMethodHS256, map[string]any{"kid": "h"}, secret,
		payload(http.MethodGet, "/", "", "")))
	accepted(t, req)
	// A key gives what it may, whatever is asked.
	require.Equal(t, []auth.Scope{auth.PeersRead}, accepted(t, signed(t, hmacKey(t, "h2", other), http.MethodGet, url,
		"")).Principal.Scopes)
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
		Keys: []auth.KeySource{{Type: auth.HMAC, ID: "a", Secret: secret}},
		Bearers: []auth.Bearer{{Name: "b", Secret: []byte("short"), Scopes: auth.Scopes()}, {Name: "c",
			Secret: []byte(plainToken + "."), Scopes: auth.Scopes()}},
		Users:        []auth.User{{UID: 1, Scopes: []auth.Scope{"root"}}},
		Certificates: []auth.Certificate{{CommonName: "a", DNS: "b", Scopes: auth.Scopes()}},
	}})
	for _, what := range []string{"Skew", "MaxBody", "Audience", "Keys[0]: no scopes", "Bearers[0]", "Bearers[1]",
		`Users[0]: scope "root"`, "Certificates[0]"} {
		require.ErrorContains(t, err, what)
	}
	require.NotContains(t, err.Error(), plainToken)
	require.NotContains(t, err.Error(), "short")
}

// A public key at hand checks tokens as one in a file does; each refusal has its reason told.
func TestPublicKeyAtHand(t *testing.T) {
	public, private := newEd25519(t)
	var reasons []auth.Reason
	a := newAuth(t, auth.Config{
		Trust: auth.Trust{Audience: node, Keys: []auth.KeySource{
			{Type: auth.PEM, ID: "e", PublicKey: publicPEM(t, public), Scopes: auth.Scopes()},
		}},
		OnRefusal: func(r auth.Reason) { reasons = append(reasons, r) },
	})
	h := a.Middleware(http.HandlerFunc(echo))
	ask := func(key sign.Key) int {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/peers", http.NoBody)
		require.NoError(t, sign.Request(r, key, sign.Claims{Subject: "cp", Audience: node, Scopes: []string{"peers:read"}}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	right, err := sign.Ed25519("e", private)
	require.NoError(t, err)
	_, other := newEd25519(t)
	wrong, err := sign.Ed25519("e", other)
	require.NoError(t, err)
	unknown, err := sign.Ed25519("x", private)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, ask(right))
	require.Equal(t, http.StatusUnauthorized, ask(wrong))
	require.Equal(t, http.StatusUnauthorized, ask(unknown))
	require.Equal(t, []auth.Reason{auth.WrongSignature, auth.UnknownKey}, reasons)

	for _, s := range []auth.KeySource{
		{Type: auth.PEM, ID: "e", PublicKey: []byte("no PEM"), Scopes: auth.Scopes()},
		{Type: auth.PEM, ID: "e", PublicKey: publicPEM(t, public), Path: "/also", Scopes: auth.Scopes()},
		{Type: auth.HMAC, ID: "e", Secret: secret, PublicKey: publicPEM(t, public), Scopes: auth.Scopes()},
	} {
		_, err := auth.New(auth.Config{Trust: auth.Trust{Audience: node, Keys: []auth.KeySource{s}}})
		require.ErrorContains(t, err, "Keys[0]")
	}
}
