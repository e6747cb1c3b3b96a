package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// Keys: every part, and all that can be wrong with it.
func TestKeys(t *testing.T) {
	opts := options(t, `api:
  auth:
    keys:
      - {kid: hs, alg: HS256, file: hs.secret, scopes: [peers:read, peers:write], not_after: 2026-11-20T00:00:00Z}
      - {kid: ed, alg: EdDSA, file: ed.pem, scopes: node:admin}
      - {kid: es, alg: ES256, file: es.pem, scopes: [node:admin], not_after: "2027-01-01T00:00:00+01:00"}
`)
	files(t, opts)
	loaded, err := config.Load(opts)
	require.NoError(t, err)
	keys := loaded.Config.API.Auth.Keys
	require.Len(t, keys, 3)
	require.Equal(t, secretText, keys[0].Value.Reveal())
	require.Equal(t, []auth.Scope{auth.PeersRead, auth.PeersWrite}, keys[0].Scopes)
	require.Equal(t, []auth.Scope{auth.NodeAdmin}, keys[1].Scopes)
	require.Contains(t, keys[2].Value.Reveal(), "BEGIN PUBLIC KEY")
	require.Equal(t, time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), keys[2].NotAfter.UTC())
	require.Len(t, loaded.Warnings, 1)
	require.Equal(t, "was 2026-11-20T00:00:00Z: the key hs is not taken any more, and can be left out", loaded.Warnings[0].Text)

	opts = options(t, `api:
  auth:
    keys:
      - {kid: a, alg: HS256, file: short.secret, scopes: [peers:read]}
      - {kid: a, alg: none, scopes: []}
      - alg: ES256
        file: ed.pem
        value: x
        scopes: [peers]
        not_after: soon
        other: 5
      - {kid: b, alg: ES256, file: ed.pem, scopes: [peers:read]}
      - 7
`)
	files(t, opts)
	require.Equal(t, []string{
		"w.yaml:11: api.auth.keys[2].other: is unknown: a key has kid, alg, file, value, scopes and not_after",
		"w.yaml:13: api.auth.keys[4]: is no key: give kid, alg, file and scopes",
	}, problems(t, opts), "what nests is wrong first")
	text, err := os.ReadFile(opts.File)
	require.NoError(t, err)
	text = text[:len(text)-len("      - 7\n")]
	opts.File = write(t, filepath.Dir(opts.File), "w.yaml", strings.Replace(string(text), "        other: 5\n", "", 1))
	require.Equal(t, []string{
		`w.yaml:5: api.auth.keys[1].kid: "a" is there twice: give each key a kid of its own`,
		`w.yaml:5: api.auth.keys[1].alg: "none" is not known: give HS256, EdDSA or ES256`,
		"w.yaml:5: api.auth.keys[1].file: is not given: name the file of the key, of mode 0600",
		"w.yaml:5: api.auth.keys[1].scopes: are not given: say what the key may do, such as [peers:read, peers:write]",
		"w.yaml:6: api.auth.keys[2].kid: is empty: give one, or leave the line out",
		"w.yaml:8: api.auth.keys[2].value: is given beside file: give one of them",
		`w.yaml:9: api.auth.keys[2].scopes: "peers" is not known: give peers:read, peers:write or node:admin`,
		`w.yaml:10: api.auth.keys[2].not_after: "soon" is not a time: give such as 2027-06-30T00:00:00Z`,
	}, problems(t, opts))

	for key, want := range map[string]string{
		"alg: HS256, file: short.secret": "short.secret: is shorter than 32 bytes, and could be guessed: make one with 'openssl " +
			"rand -base64 32'",
		"alg: ES256, file: ed.pem": "ed.pem: is a public key of another kind than ES256 needs: mend alg, or give the key that " +
			"it is about",
		"alg: EdDSA, file: key.pem": "key.pem: is no public key in PEM: give what 'openssl pkey -pubout' writes, which begins " +
			"with -----BEGIN PUBLIC KEY-----",
		"alg: HS256, file: open.pem": "open.pem: others than its owner may use it",
	} {
		opts := options(t, "", "WAYLUME_API_AUTH_KEYS=[{kid: a, "+key+", scopes: [peers:read]}]")
		opts.Dir = filepath.Dir(opts.File)
		files(t, opts)
		require.Contains(t, problems(t, opts)[0], "WAYLUME_API_AUTH_KEYS: api.auth.keys[0].file: "+want)
	}

	opts = options(t, "api: {auth: {keys_file: keys.yaml}}")
	files(t, opts)
	list := write(t, filepath.Dir(opts.File), "keys.yaml", "- kid: a\n  alg: HS256\n  value: "+secretText+"\n  scopes: "+
		"[peers:read]\n")
	loaded, err = config.Load(opts)
	require.NoError(t, err)
	require.Equal(t, secretText, loaded.Config.API.Auth.Keys[0].Value.Reveal())
	require.NoError(t, os.Chmod(list, 0o644))
	require.Contains(t, problems(t, opts)[0], "api.auth.keys_file: keys.yaml: others than its owner may use it")

	opts = options(t, "api: {auth: {keys: [{kid: a, alg: HS256, value: "+secretText+", scopes: [peers:read]}]}}")
	require.NoError(t, os.Chmod(opts.File, 0o640))
	require.Contains(t, problems(t, opts)[0], "w.yaml:1: api.auth.keys: is a secret in this file")
}

// Production says at once all that is missing.
func TestProduction(t *testing.T) {
	const says = ": profile production "
	opts := options(t, "profile: production\nnode: {store: memory}\naudit: {file: none}\n"+
		"api:\n  listen: [127.0.0.1:8443, unix:/x]\n  auth: {bearer_token: "+secretText+"}\n")
	require.Equal(t, []string{
		"api.tls.cert_file" + says + "needs TLS for 127.0.0.1:8443: give api.tls.cert_file and api.tls.key_file, or listen at unix " +
			"sockets alone",
		"api.auth.keys" + says + "needs signed requests: give api.auth.keys, api.auth.jwks or api.tls.client_ca_file; 'waylumed " +
			"init --production' makes a key",
		"w.yaml:6: api.auth.bearer_token" + says + "takes no bearer token, which whoever sees it once can use: leave it out, and " +
			"sign requests",
		"log.redaction" + says + "needs log.redaction strict: it is partial",
		"w.yaml:2: node.store" + says + "needs a store that outlasts the process: set node.store to file",
		"w.yaml:3: audit.file" + says + "needs a log of changes: leave audit.file out, or name a file",
	}, problems(t, opts))
	for _, api := range []string{
		"api: {" + someKey + "}", "api: {listen: ':8443', " + someTLS + ", " + someKey + "}",
		"api: {auth: {jwks: {url: 'https://example.com/k'}}}",
		"api: {listen: '127.0.0.1:1', tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}}", "api: {listen: none}",
	} {
		opts := options(t, "profile: production\nlog: {redaction: strict}\n"+api)
		files(t, opts)
		_, err := config.Load(opts)
		require.NoError(t, err, api)
	}
}
