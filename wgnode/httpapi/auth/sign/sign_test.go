package sign_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

func TestQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":                       "",
		"a":                      "a=",
		"a=":                     "a=",
		"=a":                     "=a",
		"&&a=1&":                 "a=1",
		"b=2&a=1":                "a=1&b=2",
		"a=2&b=0&a=1":            "a=2&a=1&b=0",
		"a=1=2":                  "a=1%3D2",
		"a=x+y%20z":              "a=x%20y%20z",
		"a=%2f%2F/?":             "a=%2F%2F%2F%3F",
		"a=-._~%2D!*'()":         "a=-._~-%21%2A%27%28%29",
		"%C3%A9=ü":               "%C3%A9=%C3%BC",
		"a=%ff":                  "a=%FF",
		"a=%26%3d%3B":            "a=%26%3D%3B",
		"a%00=":                  "a%00=",
		"ab=1&a%7F=2&A=3&%61=4":  "A=3&a=4&a%7F=2&ab=1",
		"z=1&%F0%9F%A6%80=2&~=3": "%F0%9F%A6%80=2&z=1&~=3",
	} {
		got, err := sign.Query(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
	for _, raw := range []string{"%", "a=%zz", "a=%1", "a;b=1", "a=1;b"} {
		_, err := sign.Query(raw)
		require.ErrorIs(t, err, sign.ErrQuery, raw)
	}
}

// Two queries have one form if, and only if, a handler reads the same from both.
func checkQuery(t require.TestingT, raw string) {
	got, err := sign.Query(raw)
	values, parseErr := url.ParseQuery(raw)
	require.Equal(t, parseErr == nil, err == nil, "%q: %v, %v", raw, parseErr, err)
	if err != nil {
		return
	}
	again, err := sign.Query(got)
	require.NoError(t, err)
	require.Equal(t, got, again, "the form of a form is itself")
	read, err := url.ParseQuery(got)
	require.NoError(t, err)
	require.Equal(t, values, read)
	require.Equal(t, -1, strings.IndexFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }))
	var names []string
	for piece := range strings.SplitSeq(got, "&") {
		name, _, _ := strings.Cut(piece, "=")
		names = append(names, name)
	}
	require.True(t, slices.IsSorted(names))
}

func TestQueryModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"a", "b", "&", "=", "+", "%20", "%2f", "%2F", "%", "é", ";", " ", "~", "*", "%FF", "ab"})
		checkQuery(t, strings.Join(rapid.SliceOf(piece).Draw(t, "query"), ""))
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("b=2&a=%2f+x&a=1")
	f.Add("a;b")
	f.Add("%zz=%")
	f.Fuzz(func(t *testing.T, raw string) { checkQuery(t, raw) })
}

func key(t *testing.T) sign.Key {
	t.Helper()
	k, err := sign.HMAC("k", make([]byte, 32))
	require.NoError(t, err)
	return k
}

func claims() sign.Claims {
	return sign.Claims{Subject: "s", Audience: "a", Scopes: []string{"peers:read"}}
}

func newRequest(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://node/", body)
	require.NoError(t, err)
	return req
}

func TestRequestRefuses(t *testing.T) {
	for want, change := range map[string]func(*sign.Claims, *http.Request){
		"lifetime":   func(c *sign.Claims, _ *http.Request) { c.Lifetime = 61 * time.Second },
		"who asks":   func(c *sign.Claims, _ *http.Request) { c.Subject = "" },
		"which node": func(c *sign.Claims, _ *http.Request) { c.Audience = "" },
		"what for":   func(c *sign.Claims, _ *http.Request) { c.Scopes = nil },
		"semicolon":  func(_ *sign.Claims, r *http.Request) { r.URL.RawQuery = "a;b" },
		"more than 16": func(_ *sign.Claims, r *http.Request) {
			r.Body = io.NopCloser(bytes.NewReader(make([]byte, sign.MaxBody+1)))
		},
		"broken pipe": func(_ *sign.Claims, r *http.Request) { r.Body = io.NopCloser(broken{}) },
	} {
		c, req := claims(), newRequest(t, strings.NewReader("x"))
		change(&c, req)
		require.ErrorContains(t, sign.Request(req, key(t), c), want)
		require.Empty(t, req.Header.Get("Authorization"))
	}
	require.ErrorIs(t, sign.Request(newRequest(t, nil), sign.Key{}, claims()), sign.ErrKey)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken pipe") }

// What is signed can be sent: its body is there, and its length.
func TestRequestKeepsTheBody(t *testing.T) {
	for _, body := range []string{"", "x"} {
		req := newRequest(t, io.MultiReader(strings.NewReader(body)))
		require.NoError(t, sign.Request(req, key(t), claims()))
		require.Equal(t, int64(len(body)), req.ContentLength)
		got, err := io.ReadAll(req.Body)
		require.NoError(t, err)
		require.Equal(t, body, string(got))
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	_, err := sign.HMAC("k", make([]byte, 31))
	require.ErrorIs(t, err, sign.ErrKey)
	_, err = sign.HMAC("", make([]byte, 32))
	require.ErrorIs(t, err, sign.ErrKey)
	_, err = sign.HMAC("k\n", make([]byte, 32))
	require.ErrorIs(t, err, sign.ErrKey)
	_, err = sign.Ed25519("k", make([]byte, 32))
	require.ErrorIs(t, err, sign.ErrKey)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, err = sign.ECDSA("k", other)
	require.ErrorIs(t, err, sign.ErrKey)
	_, err = sign.ECDSA("k", nil)
	require.ErrorIs(t, err, sign.ErrKey)
}

// A transport closes the body of a request that it cannot sign, as RoundTripper asks.
func TestTransportClosesTheBody(t *testing.T) {
	body := &closed{}
	req := newRequest(t, body)
	_, err := (&sign.Transport{Claims: claims()}).RoundTrip(req) //nolint:bodyclose // there is no response
	require.ErrorIs(t, err, sign.ErrKey)
	require.True(t, body.closed)
}

type closed struct {
	broken
	closed bool
}

func (c *closed) Close() error {
	c.closed = true
	return nil
}
