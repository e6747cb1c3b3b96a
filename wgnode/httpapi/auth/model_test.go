package auth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// sent is a request as a server has it.
type sent struct{ method, target, body, token string }

func (s sent) status(h http.Handler) int {
	r := httptest.NewRequest(s.method, "/", strings.NewReader(s.body))
	r.RequestURI = s.target
	if path, query, _ := strings.Cut(s.target, "?"); path != "" {
		r.URL = &url.URL{Path: path, RawQuery: query}
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// A request is let through as it was signed, once, with its query in any order and spelling that says the same; and not if one
// letter of anything else is another.
func TestAnyRequest(t *testing.T) {
	public, private := newEd25519(t)
	a, err := auth.New(auth.Config{
		UsedTokens: filepath.Join(t.TempDir(), "used"), Failures: auth.Failures{Threshold: 1 << 30},
		Trust: auth.Trust{Audience: node, Keys: []auth.KeySource{
			{Type: auth.HMAC, ID: "k1", Secret: secret, Scopes: auth.Scopes()},
			{Type: auth.PEM, ID: "e", Path: file(t, publicPEM(t, public)), Scopes: auth.Scopes()},
		}},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	h := a.Middleware(http.HandlerFunc(echo))
	ed, err := sign.Ed25519("e", private)
	require.NoError(t, err)
	keys := []sign.Key{hmacKey(t, "k1", secret), ed}

	segment := rapid.StringMatching(`(/[a-zA-Z0-9._~!$&'()*+,;=:@-]{1,6}|/%2[0-9A-Fa-f]){1,3}`)
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 0, 4, func(s string) string { return s })
	value := rapid.StringMatching(`[a-z0-9 +/=&%é]{0,5}`)
	rapid.Check(t, func(t *rapid.T) {
		good := sent{
			method: rapid.SampledFrom([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}).Draw(t, "method"),
			target: segment.Draw(t, "path"), body: rapid.String().Draw(t, "body"),
		}
		path := good.target
		var query, shuffled []string
		for _, name := range names.Draw(t, "names") {
			v := value.Draw(t, "value")
			query = append(query, name+"="+url.QueryEscape(v))
			shuffled = append(shuffled, name+"="+strings.ReplaceAll(strings.ToLower(url.QueryEscape(v)), "+", "%20"))
		}
		good.target += "?" + strings.Join(query, "&")
		req, err := http.NewRequest(good.method, "http://node"+good.target, strings.NewReader(good.body))
		require.NoError(t, err)
		require.NoError(t, sign.Request(req, rapid.SampledFrom(keys).Draw(t, "key"), claims()))
		good.token = strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")

		bad := good
		switch rapid.SampledFrom([]string{"method", "path", "query", "body", "token"}).Draw(t, "what is wrong") {
		case "method":
			bad.method = "OPTIONS"
		case "path":
			bad.target = path + "x?" + strings.Join(query, "&")
		case "query":
			bad.target += "&x"
		case "body":
			bad.body += "x"
		case "token":
			i := rapid.IntRange(0, len(good.token)-1).Draw(t, "at")
			letter := rapid.SampledFrom([]string{"A", "b", "0", "-", "_", ".",
				"="}).Filter(func(s string) bool { return s != good.token[i:i+1] })
			bad.token = good.token[:i] + letter.Draw(t, "letter") + good.token[i+1:]
		}
		require.Equal(t, http.StatusUnauthorized, bad.status(h))

		again := good
		again.target = path + "?" + strings.Join(rapid.Permutation(shuffled).Draw(t, "order"), "&")
		require.Equal(t, http.StatusOK, again.status(h))
		require.Equal(t, http.StatusUnauthorized, good.status(h), "once")
	})
}
