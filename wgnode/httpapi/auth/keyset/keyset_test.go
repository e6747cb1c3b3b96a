package keyset_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/auth/keyset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func edJWK(t testing.TB, kid string) map[string]any {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "kid": kid}
}

func ecJWK(t testing.TB, kid string) map[string]any {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := private.PublicKey.Bytes()
	require.NoError(t, err)
	return map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:]), "kid": kid}
}

func octJWK(kid string) map[string]any {
	return map[string]any{"kty": "oct", "alg": "HS256", "k": b64(make([]byte, 32)), "kid": kid}
}

func with(jwk map[string]any, name string, value any) map[string]any {
	jwk[name] = value
	return jwk
}

func set(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"keys": keys})
	require.NoError(t, err)
	return data
}

func TestParseJWKS(t *testing.T) {
	keys, ignored, err := keyset.ParseJWKS(set(t, edJWK(t, "e"), with(ecJWK(t, "p"), "use", "sig"), with(edJWK(t, "f"), "alg",
		"Ed25519"),
		map[string]any{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}, with(ecJWK(t, "x"), "use", "enc"),
		with(edJWK(t, "s"), "key_ops", []string{"sign"}), map[string]any{"kty": "EC", "crv": "P-384", "kid": "q"},
		with(with(edJWK(t, "c"), "x5u", "http://127.0.0.1:1/fetch-me"), "x5c", []string{"AAAA"})), false)
	require.NoError(t, err)
	require.Equal(t, 4, ignored)
	var got []string
	for _, k := range keys {
		got = append(got, k.ID()+" "+k.Algorithm())
	}
	require.Equal(t, []string{"e EdDSA", "p ES256", "f EdDSA", "c EdDSA"}, got)

	keys, _, err = keyset.ParseJWKS(set(t, octJWK("h")), true)
	require.NoError(t, err)
	require.Equal(t, keyset.HS256, keys[0].Algorithm())
	keys, _, err = keyset.ParseJWKS([]byte(`{"keys":[]}`), false)
	require.NoError(t, err)
	require.Empty(t, keys, "a set without keys takes all away")
}

func TestParseJWKSRefuses(t *testing.T) {
	twice := edJWK(t, "a")
	other := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": twice["x"], "kid": "b"}
	var many []map[string]any
	for range 65 {
		many = append(many, map[string]any{"kty": "RSA"})
	}
	for want, data := range map[string][]byte{
		"no JWK Set":            []byte("hello"),
		`no member "keys"`:      []byte("{}"),
		"65 keys":               set(t, many...),
		"same key":              set(t, twice, other),
		`two have the id "a"`:   set(t, twice, edJWK(t, "a")),
		"private key":           set(t, with(edJWK(t, "a"), "d", b64(make([]byte, 32)))),
		"is a secret":           set(t, octJWK("a")),
		`its alg is "EdDSA"`:    set(t, with(ecJWK(t, "a"), "alg", "EdDSA")),
		`its alg is "HS256"`:    set(t, with(edJWK(t, "a"), "alg", "HS256")),
		"its id has 0 bytes":    set(t, edJWK(t, "")),
		"32 bytes":              set(t, with(edJWK(t, "a"), "x", b64(make([]byte, 31)))),
		"no point":              set(t, with(ecJWK(t, "a"), "x", b64(make([]byte, 32)))),
		"key 1 of the set":      set(t, with(ecJWK(t, "a"), "y", "!")),
		`requires parameters "`: set(t, map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "a"}),
	} {
		_, _, err := keyset.ParseJWKS(data, false)
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, keyset.ErrKey)
	}
	_, _, err := keyset.ParseJWKS(set(t, with(octJWK("a"), "k", b64([]byte("a short secret")))), true)
	require.ErrorContains(t, err, "14 bytes")
	require.NotContains(t, err.Error(), "short secret")
	_, _, err = keyset.ParseJWKS(set(t, with(octJWK("a"), "alg", nil)), true)
	require.ErrorContains(t, err, "HS256", "an algorithm is not guessed of a secret")
}

// What comes from a URL is anybody's: it is keys of the kinds that are taken, or an error.
func FuzzParseJWKS(f *testing.F) {
	f.Add(set(f, edJWK(f, "a"), ecJWK(f, "b"), octJWK("c")))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"keys":[null,{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := keyset.ParseJWKS(data, false)
		if err != nil && keys != nil {
			t.Fatal("keys with an error")
		}
		for _, k := range keys {
			if a := k.Algorithm(); k.ID() == "" || a != keyset.EdDSA && a != keyset.ES256 {
				t.Fatal(k.ID(), a)
			}
			if k.Verify("text", nil) == nil || k.Verify("text", make([]byte, 64)) == nil {
				t.Fatal("a signature of nothing")
			}
		}
	})
}

func write(t *testing.T, data []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, data, mode))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func block(t *testing.T, kind string, der []byte, err error) []byte {
	t.Helper()
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestFiles(t *testing.T) {
	secret := strings.Repeat("s", 32)
	k, err := keyset.ReadHMAC("k", write(t, []byte(secret+"\r\n"), 0o640))
	require.NoError(t, err)
	same, err := keyset.HMAC("other", []byte(secret))
	require.NoError(t, err)
	require.True(t, k.Same(same))

	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	publicPEM := block(t, "PUBLIC KEY", der, err)
	k, err = keyset.ReadPEM("k", write(t, publicPEM, 0o644))
	require.NoError(t, err)
	require.NoError(t, k.Verify("text", ed25519.Sign(private, []byte("text"))))
	require.ErrorIs(t, k.Verify("other", ed25519.Sign(private, []byte("text"))), keyset.ErrSignature)

	der, err = x509.MarshalPKCS8PrivateKey(private)
	privatePEM := block(t, "PRIVATE KEY", der, err)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err = x509.MarshalPKIXPublicKey(weak.Public())
	rsaPEM := block(t, "PUBLIC KEY", der, err)
	for want, data := range map[string][]byte{
		"public key alone":   privatePEM,
		"not PEM":            []byte(secret),
		"more than one":      append(slices.Clip(publicPEM), publicPEM...),
		"neither an Ed25519": rsaPEM,
		"more than 262144":   make([]byte, 256<<10+1),
		"asn1":               block(t, "PUBLIC KEY", []byte("x"), nil),
	} {
		_, err := keyset.ReadPEM("k", write(t, data, 0o644))
		require.ErrorIs(t, err, keyset.ErrKey)
		require.ErrorContains(t, err, want)
	}

	// A set with a secret is as secret as that.
	open := set(t, edJWK(t, "e"))
	keys, err := keyset.ReadJWKS(write(t, open, 0o644))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	_, err = keyset.ReadJWKS(write(t, set(t, edJWK(t, "e"), octJWK("h")), 0o644))
	require.ErrorIs(t, err, keyset.ErrExposed)
	keys, err = keyset.ReadJWKS(write(t, set(t, edJWK(t, "e"), octJWK("h")), 0o600))
	require.NoError(t, err)
	require.Len(t, keys, 2)
}
