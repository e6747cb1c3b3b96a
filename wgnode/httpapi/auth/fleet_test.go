package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/keyset"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// functions are a fleet's that enroll a node, and hold what it asks after that to be good for an API.
type functions struct {
	mu   sync.Mutex
	auth http.Handler
	// What has reached auth.
	authorization string
	body          []byte
}

const (
	fleetServer     = "5f1d7a1c-3b0e-4d35-9a57-0c1d3f2b8e64"
	fleetCredential = "8a0f3f8e-60d5-4d0b-8d8a-7a8f0e9c1b22"
	fleetAudience   = "waylume-fleet"
)

func (f *functions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if f.auth != nil {
		f.authorization, f.body = r.Header.Get("Authorization"), body
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.auth.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"registered":{"server":"`+fleetServer+`","incarnation":1,"usage_sequence":0},
		"credential":"`+fleetCredential+`","audience":"`+fleetAudience+`","control_keys":{"keys":[
			{"kty":"OKP","crv":"Ed25519","x":"-9mIHAgIS5xuXcWO2Jei81sr5o0Hu1UatpBGVhbEZjw","kid":"control-plane-1","alg":"EdDSA"},
			{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
			"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"control-plane-2","use":"sig"}]}}`)
}

// A node signs what it asks of its fleet as requests to an API are signed, in a package that cannot use this one: the tokens are the
// same byte for byte, and what checks them here finds nothing wrong with them but their scope, which no API gives. The control keys
// that it keeps are such as an API trusts.
func TestFleetTokens(t *testing.T) {
	f := &functions{}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	cfg := supabase.Config{
		CredentialFile: filepath.Join(t.TempDir(), "fleet.json"), URLs: []string{s.URL},
		ControlKeysFile: filepath.Join(t.TempDir(), "control.jwks"),
	}
	_, err := supabase.Enroll(t.Context(), supabase.EnrollConfig{
		Config: cfg, Token: strings.Repeat("A", 43), Registration: registry.Registration{
			Name: "fra-1", PublicKey: registry.Key{1}, EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"),
		},
	})
	require.NoError(t, err)

	keys, err := keyset.ReadJWKS(cfg.ControlKeysFile)
	require.NoError(t, err)
	require.Len(t, keys, 2)
	require.Equal(t, "control-plane-1", keys[0].ID())
	require.Equal(t, "control-plane-2", keys[1].ID())
	private := privateKey(t, cfg.CredentialFile)
	var reasons []auth.Reason
	a := newAuth(t, auth.Config{
		Trust: auth.Trust{Audience: fleetAudience, Keys: []auth.KeySource{
			{Type: auth.PEM, ID: fleetCredential, PublicKey: publicPEM(t, private.Public()), Scopes: auth.Scopes()},
			{Type: auth.JWKS, Path: cfg.ControlKeysFile, Scopes: auth.Scopes()},
		}},
		OnRefusal: func(r auth.Reason) { reasons = append(reasons, r) },
	})
	f.mu.Lock()
	f.auth = a.Middleware(http.HandlerFunc(echo))
	f.mu.Unlock()

	fleet, err := supabase.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, fleet.Close()) })
	for path, ask := range map[string]func() error{
		"/node-heartbeat/drain":      func() error { return fleet.Drain(t.Context(), fleetServer, true) },
		"/node-heartbeat/deregister": func() error { return fleet.Deregister(t.Context(), fleetServer) },
		"/node-enroll/rotate":        func() error { return fleet.Rotate(t.Context()) },
		"/usage-report": func() error {
			_, err := fleet.ReportUsage(t.Context(), registry.UsageReport{Server: fleetServer, Sequence: 1})
			return err
		},
	} {
		reasons = nil
		require.Error(t, ask())
		require.Equal(t, []auth.Reason{auth.MissingScope}, reasons, "the last that is looked at before the token counts as used")

		token, ok := strings.CutPrefix(f.authorization, "Bearer ")
		require.True(t, ok)
		claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		require.NoError(t, err)
		var payload sign.Payload
		require.NoError(t, json.Unmarshal(claims, &payload))
		require.Equal(t, sign.Payload{
			Subject: fleetServer, Audience: fleetAudience, Method: http.MethodPost, Path: path, Digest: sign.Digest(f.body), Scope: "node",
			IssuedAt: payload.IssuedAt, Expires: payload.IssuedAt + 30, ID: payload.ID,
		}, payload)
		require.Len(t, payload.ID, 22)
		key, err := sign.Ed25519(fleetCredential, private)
		require.NoError(t, err)
		same, err := sign.Token(key, payload)
		require.NoError(t, err)
		require.Equal(t, same, token, "signatures of Ed25519 are determined by what is signed")
	}
}

func privateKey(t testing.TB, path string) ed25519.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var file struct {
		Current struct {
			PrivateKey string `json:"private_key"`
		} `json:"current"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	seed, err := base64.RawURLEncoding.DecodeString(file.Current.PrivateKey)
	require.NoError(t, err)
	return ed25519.NewKeyFromSeed(seed)
}
