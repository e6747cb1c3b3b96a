package supabase_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

type call struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Body   string `json:"body"`
}

// What sign.ts signs in a Deno, the server takes: with each algorithm, and whatever stands in a path, a query or a body.
func TestSign(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	secret := make([]byte, 32)
	_, err = rand.Read(secret)
	require.NoError(t, err)

	for _, c := range []struct {
		algorithm string
		key       []byte
		source    auth.KeySource
	}{
		{"HS256", secret, auth.KeySource{Type: auth.HMAC, Secret: secret}},
		{"EdDSA", pkcs8(t, private), auth.KeySource{Type: auth.PEM, Path: publicFile(t, public)}},
		{"ES256", pkcs8(t, ec), auth.KeySource{Type: auth.PEM, Path: publicFile(t, ec.Public())}},
	} {
		t.Run(c.algorithm, func(t *testing.T) {
			c.source.ID, c.source.Scopes = "edge-1", auth.Scopes()
			a, err := auth.New(auth.Config{
				Trust:      auth.Trust{Audience: "fra-1", Keys: []auth.KeySource{c.source}},
				UsedTokens: filepath.Join(t.TempDir(), "used"),
			})
			require.NoError(t, err)
			server := httptest.NewServer(a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, _ := auth.FromContext(r.Context())
				body, _ := io.ReadAll(r.Body)
				_, _ = w.Write([]byte(p.Name + " " + r.Method + " " + r.RequestURI + " " + string(body)))
			})))
			defer func() {
				server.Close()
				require.NoError(t, a.Close())
			}()
			calls := []call{
				{"POST", "/api/v1/peers", `{"name":"Zoë","note":"ünïcödé 🦀"}`},
				{"GET", "/api/v1/peers?limit=10&cursor=a%2Fb%3D%3D&account=x+y", ""},
				{"GET", "/api/v1/peers?b=2&a=2&b=1&a=1&&c&=d&e='(!*)~%7E", ""},
				{"GET", "/api/v1/peers?é=ü&名=前&%F0%9F%A6%80=%20", ""},
				{"DELETE", "/api/v1/peers/a%2Bb%2Fc=", ""},
				{"PATCH", "/a|b/^'()*!~[]/ü/%2F%20", "x"},
				{"PUT", "/?", strings.Repeat("0123456789", 10_000)},
			}
			results := send(t, c.algorithm, c.key, server.URL, calls)
			require.Len(t, results, len(calls))
			for i, got := range results {
				require.Equal(t, http.StatusOK, got.Status, "%+v: %s", calls[i], got.Body)
				require.True(t, strings.HasPrefix(got.Body, "edge-function "+calls[i].Method+" /"), got.Body)
				require.True(t, strings.HasSuffix(got.Body, " "+calls[i].Body), got.Body)
			}
			require.Equal(t, map[string]uint64{auth.MethodJWT: uint64(len(calls))}, a.Stats().Accepted)
		})
	}
}

type result struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

// send has call.ts send requests to a server, which it may reach, and nothing else.
func send(t *testing.T, algorithm string, key []byte, server string, calls []call) []result {
	t.Helper()
	var requests bytes.Buffer
	for _, c := range calls {
		c.URL = server + c.URL
		require.NoError(t, json.NewEncoder(&requests).Encode(c))
	}
	cmd := edge.Command(t, "", "run", "--allow-net="+strings.TrimPrefix(server, "http://"), "call.ts", "edge-1", algorithm,
		base64.StdEncoding.EncodeToString(key), "fra-1")
	cmd.Stdin = &requests
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var results []result
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r result
		require.NoError(t, d.Decode(&r))
		results = append(results, r)
	}
	return results
}

func pkcs8(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return der
}

func publicFile(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "public.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	return path
}
