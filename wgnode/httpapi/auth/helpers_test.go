package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const node = "fra-1"

// secret is as long as a secret must be.
var secret = []byte("0123456789abcdef0123456789abcdef")

// echo answers with who has asked, and the body as the handler got it.
func echo(w http.ResponseWriter, r *http.Request) {
	p, ok := auth.FromContext(r.Context())
	body, err := io.ReadAll(r.Body)
	if !ok || err != nil {
		http.Error(w, "no principal, or no body", http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(answer{p, string(body), r.ContentLength})
}

type answer struct {
	Principal auth.Principal
	Body      string
	Length    int64
}

// hmacTrust trusts one secret with all.
func hmacTrust() auth.Trust {
	return auth.Trust{Audience: node, Keys: []auth.KeySource{{Type: auth.HMAC, ID: "k1", Secret: secret, Scopes: auth.Scopes()}}}
}

// newAuth returns an Authenticator that remembers used tokens in a directory of the test's, so that it has no start to wait for.
func newAuth(t testing.TB, cfg auth.Config) *auth.Authenticator {
	t.Helper()
	if cfg.UsedTokens == "" {
		cfg.UsedTokens = filepath.Join(t.TempDir(), "used")
	}
	a, err := auth.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	a.Start()
	return a
}

// serve serves an Authenticator, with echo behind it, on a real socket of the loopback.
func serve(t testing.TB, a *auth.Authenticator) string {
	t.Helper()
	return serveOn(t, a, "127.0.0.1:0")
}

func serveOn(t testing.TB, a *auth.Authenticator, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(a.Middleware(http.HandlerFunc(echo)))
	require.NoError(t, s.Listener.Close())
	s.Listener, s.Config.ConnContext = l, auth.ConnContext
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// hmacKey signs with a secret.
func hmacKey(t testing.TB, id string, secret []byte) sign.Key {
	t.Helper()
	k, err := sign.HMAC(id, secret)
	require.NoError(t, err)
	return k
}

// claims ask node for all.
func claims() sign.Claims {
	return sign.Claims{Subject: "control-plane", Audience: node, Scopes: []string{"peers:read", "peers:write", "node:admin"}}
}

func request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	return req
}

func signed(t testing.TB, k sign.Key, method, url, body string) *http.Request {
	t.Helper()
	req := request(t, method, url, body)
	require.NoError(t, sign.Request(req, k, claims()))
	return req
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request, and reads the answer.
func do(t testing.TB, req *http.Request) reply {
	t.Helper()
	return doBy(t, http.DefaultClient, req)
}

func doBy(t testing.TB, c *http.Client, req *http.Request) reply {
	t.Helper()
	res, err := c.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	c.CloseIdleConnections()
	return reply{res.StatusCode, res.Header, body}
}

// accepted sends a request that is let through.
func accepted(t testing.TB, req *http.Request) answer {
	t.Helper()
	got := do(t, req)
	require.Equal(t, http.StatusOK, got.status, string(got.body))
	var a answer
	require.NoError(t, json.Unmarshal(got.body, &a))
	return a
}

// refused sends a request that is not let through.
func refused(t testing.TB, req *http.Request, status int) (problem.Problem, http.Header) {
	t.Helper()
	got := do(t, req)
	return got.problem(t, status), got.header
}

func (r reply) problem(t testing.TB, status int) problem.Problem {
	t.Helper()
	require.Equal(t, status, r.status, string(r.body))
	require.Equal(t, problem.ContentType, r.header.Get("Content-Type"))
	var p problem.Problem
	require.NoError(t, json.Unmarshal(r.body, &p))
	require.Equal(t, status, p.Status)
	if status == http.StatusUnauthorized {
		require.Contains(t, r.header.Get("WWW-Authenticate"), "Bearer")
	}
	return p
}

func newEd25519(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return public, private
}

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return private
}

// publicPEM returns a public key as a file has it.
func publicPEM(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func file(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func payload(method, path, query, body string) sign.Payload {
	now := time.Now().Unix()
	return sign.Payload{
		Subject: "control-plane", Audience: node, IssuedAt: now, Expires: now + 30, ID: rand.Text(), Method: method, Path: path,
		Query: query, Digest: sign.Digest([]byte(body)), Scope: "peers:read peers:write",
	}
}
