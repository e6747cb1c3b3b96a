package auth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// BenchmarkVerify is what a request with a token and a body of 1 KiB costs beyond its handler, remembering its id on the disk
// included.
func BenchmarkVerify(b *testing.B) {
	public, private := newEd25519(b)
	ec := newECDSA(b)
	trust := auth.Trust{Audience: node, Keys: []auth.KeySource{
		{Type: auth.HMAC, ID: "h", Secret: secret, Scopes: auth.Scopes()},
		{Type: auth.PEM, ID: "e", Path: file(b, publicPEM(b, public)), Scopes: auth.Scopes()},
		{Type: auth.PEM, ID: "p", Path: file(b, publicPEM(b, ec.Public())), Scopes: auth.Scopes()},
	}}
	ed, err := sign.Ed25519("e", private)
	require.NoError(b, err)
	es, err := sign.ECDSA("p", ec)
	require.NoError(b, err)
	body := strings.Repeat("x", 1<<10)
	for name, k := range map[string]sign.Key{"HS256": hmacKey(b, "h", secret), "EdDSA": ed, "ES256": es} {
		b.Run(name, func(b *testing.B) {
			a := newAuth(b, auth.Config{Trust: trust, MaxUsedTokens: 1 << 24})
			h := a.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/api/v1/peers?limit=10", strings.NewReader(body))
				require.NoError(b, sign.Request(req, k, claims()))
				w := httptest.NewRecorder()
				b.StartTimer()
				h.ServeHTTP(w, req)
			}
			require.Empty(b, a.Stats().Refused)
		})
	}
}
