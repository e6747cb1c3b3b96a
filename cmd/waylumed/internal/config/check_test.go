package config_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

// pemOf writes one block.
func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// certificate makes a key and a certificate that signs itself, which ends when it is told.
func certificate(t *testing.T, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", keyDER)
}

// files are what settings may name, beside the file of settings.
func files(t *testing.T, opts config.Options) {
	t.Helper()
	dir := filepath.Dir(opts.File)
	cert, key := certificate(t, now().Add(time.Hour))
	write(t, dir, "cert.pem", cert)
	write(t, dir, "key.pem", key)
	_, other := certificate(t, now())
	write(t, dir, "other.pem", other)
	open := write(t, dir, "open.pem", key)
	require.NoError(t, os.Chmod(open, 0o644))
	write(t, dir, "hs.secret", secretText)
	write(t, dir, "short.secret", "short")
	write(t, dir, "nothing", "nothing")
	write(t, dir, "jwks.json", `{"keys": [{}]}`)
	write(t, dir, "list", "# who\n198.51.100.0/24\n\n2001:db8::1 # one\n")
	write(t, dir, "bad.list", "198.51.100.0/24\n198.51.100.7/24\n")
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, public := range map[string]any{"ed.pem": ed, "es.pem": es.Public()} {
		der, err := x509.MarshalPKIXPublicKey(public)
		require.NoError(t, err)
		write(t, dir, name, pemOf("PUBLIC KEY", der))
	}
}

const (
	someTLS = "tls: {cert_file: cert.pem, key_file: key.pem}"
	someKey = "auth: {keys: [{kid: a, alg: HS256, file: hs.secret, scopes: [peers:read]}]}"
)

// Each rule, with all that is wrong where it is broken.
func TestRules(t *testing.T) {
	const beyond = "w.yaml:1: api.listen: :8443 is reached from other hosts"
	const noTLS = beyond + " without TLS: give api.tls.cert_file and api.tls.key_file, or listen at 127.0.0.1 or at a unix socket"
	const noKeys = beyond + ", and nobody could sign a request: give api.auth.keys, api.auth.jwks or api.tls.client_ca_file, " +
		"or listen at 127.0.0.1 or at a unix socket"
	for text, want := range map[string][]string{
		"api: {listen: ':8443'}":                                   {noTLS, noKeys},
		"api: {listen: ':8443', " + someTLS + "}":                  {noKeys},
		"api: {listen: ':8443', " + someKey + "}":                  {noTLS},
		"api: {listen: ':8443', " + someTLS + ", " + someKey + "}": nil,
		"api: {listen: '127.0.0.1:8443'}":                          nil,
		"api: {listen: [localhost:5, '[::1]:5', 'unix:/a/b']}":     nil,
		"api: {listen: 'localhost'}":                               {`w.yaml:1: api.listen[0]: "localhost" is no address to listen at: give such as 127.0.0.1:8443, [::1]:8443 or unix:/run/waylume/api.sock`},
		"api: {listen: 'host:5'}":                                  {`w.yaml:1: api.listen[0]: "host:5" has a name for its host: give an IP address, localhost, or nothing for all of the host's`},
		"api: {listen: '127.0.0.1:0'}":                             {`w.yaml:1: api.listen[0]: "127.0.0.1:0" has no TCP port: give 1 to 65535 after the colon`},
		"api: {tls: {cert_file: cert.pem}}": {"w.yaml:1: " +
			"api.tls.cert_file: is given without api.tls.key_file: give its private key, too"},
		"api: {tls: {key_file: key.pem}}": {"w.yaml:1: " +
			"api.tls.key_file: is given without api.tls.cert_file: give the certificate, too"},
		"api: {tls: {client_ca_file: cert.pem}}": {"w.yaml:1: " +
			"api.tls.client_ca_file: is given without api.tls.cert_file: clients show certificates over TLS alone, so give that and " +
			"api.tls.key_file"},
		"api: {tls: {cert_file: cert.pem, key_file: other.pem}}": {"w.yaml:1: " +
			"api.tls.cert_file: cert.pem does not go with other.pem: private key does not match public key"},
		"api: {tls: {cert_file: cert.pem, key_file: open.pem}}": {"w.yaml:1: " +
			"api.tls.key_file: open.pem: others than its owner may use it, its mode is 0644: if nobody has read it, run: chmod 600 " +
			"open.pem"},
		"api: {tls: {cert_file: absent, key_file: absent}}": {"w.yaml:1: " +
			"api.tls.cert_file: absent: is not there: make it, or mend its name", "w.yaml:1: api.tls.key_file: absent: is not there: " +
			"make it, or mend its name"},
		"api: {tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: nothing}}": {"w.yaml:1: " +
			"api.tls.client_ca_file: nothing: has no certificate in PEM: give those that sign clients' certificates"},
		"api:\n  listen: ':8443'\n  tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}": nil,
		"api:\n  listen: ':8443'\n  " + someTLS + "\n  auth:\n    bearer_token: " + secretText + "\n    jwks: {file: jwks.json}": {
			"w.yaml:5: api.auth.bearer_token: is taken on this host alone, and :8443 is reached from others: leave it out, and sign " +
				"requests"},
		"api: {auth: {bearer_token: " + secretText + "}}": nil,
		"api: {auth: {bearer_token: (hidden)}}": {
			"w.yaml:1: api.auth.bearer_token: is (hidden), which 'config show' writes in place of a secret: put the secret there, or " +
				"name its file"},
		"api: {auth: {jwks: {file: jwks.json, url: 'https://example.com/k'}}}": {"w.yaml:1: api.auth.jwks.file: is given beside " +
			"api.auth.jwks.url: give one of them"},
		"api: {auth: {jwks: {file: nothing}}}":               {`w.yaml:1: api.auth.jwks.file: nothing: is no set of keys: give an object in JSON with "keys" (RFC 7517, section 5)`},
		"api: {auth: {jwks: {url: 'http://example.com/k'}}}": {`w.yaml:1: api.auth.jwks.url: "http://example.com/k" is http beyond this host, which anybody on the way can change: give https`},
		"api: {auth: {jwks: {url: 'https://a:b@example.com/k'}}}": {"w.yaml:1: api.auth.jwks.url: has a user or a " +
			"password in it, which would be shown and logged: leave them out"},
		"api: {auth: {jwks: {url: 'ftp://x'}}}": {"w.yaml:1: api.auth.jwks.url: is not a URL: give " +
			"such as https://example.com/path"},
		"api: {auth: {jwks: {refresh: 1h, max_stale: 10m}}}": {"w.yaml:1: api.auth.jwks.max_stale: is 10m, less " +
			"than api.auth.jwks.refresh, 1h: keys would end between two readings"},
		"api: {trusted_proxies: [10.0.0.0/8, '::/0']}": {"w.yaml:1: api.trusted_proxies: ::/0 is everybody, " +
			"who could then claim any address: name the proxies"},
		"api: {socket: {mode: 0666}}": {"w.yaml:1: api.socket.mode: is 0666, and " +
			"api.socket.uids is none: everybody on this host may connect, and nobody but root is served: name the users, or take 0660"},
		"api: {socket: {mode: 0666, uids: 1000}}": nil,
		"api: {socket: {mode: 0888}}":             {`w.yaml:1: api.socket.mode: "0888" is not a mode: give such as 0600 or 0660`},
		"admin: {pprof: true}": {"w.yaml:1: admin.pprof: is served at admin.listen, " +
			"which is none: set that to such as 127.0.0.1:9586"},
		"admin: {pprof: true, listen: ':9586'}": {"w.yaml:1: admin.pprof: shows memory of the " +
			"process to who asks, and admin.listen (:9586) is reached from elsewhere: listen at 127.0.0.1 or at a unix socket, or " +
			"switch it off"},
		"admin: {pprof: true, listen: '127.0.0.1:9586'}": nil,
		"admin: {listen: '127.0.0.1:5'}\napi: {listen: '127.0.0.1:5'}": {"w.yaml:1: admin.listen: 127.0.0.1:5 is in " +
			"api.listen too: give another port or path"},
		"node: {dataplane: userspace, uplink: eth0, nat: masquerade, fwmark: 5}\nrun: {stop: keep}": {
			"w.yaml:1: node.uplink: is about the kernel dataplane: leave it out, or set node.dataplane to kernel (w.yaml:1)",
			"w.yaml:1: node.fwmark: is about the kernel dataplane: leave it out, or set node.dataplane to kernel (w.yaml:1)",
			"w.yaml:2: run.stop: is about the kernel dataplane: leave it out, or set node.dataplane to kernel (w.yaml:1)"},
		"node: {nat: none, source_addrs: 192.0.2.1}": {"w.yaml:1: node.source_addrs: node.nat " +
			"none leaves packets their own source address: give one of the two"},
		"node: {source_addrs: [192.0.2.1, 192.0.2.2]}": {"w.yaml:1: node.source_addrs: " +
			"192.0.2.2: use at most one address of each family"},
		"node: {control_allow: 198.51.100.0/24}": {"w.yaml:1: node.control_allow: says " +
			"who reaches node.control_ports, which are none: name them"},
		"node: {control_allow: 198.51.100.7/24}": {"w.yaml:1: node.control_allow[0]: " +
			"198.51.100.7/24 is either 198.51.100.7 or 198.51.100.0/24: give the one that is meant"},
		"node: {interface: 0x}": {`w.yaml:1: node.interface: "0x": use 1 to 12 letters, digits, '-', '_' and '.', a letter first`},
		"node: {uplink: a/b}":   {`w.yaml:1: node.uplink: "a/b": use the name of the interface to the internet, or none for any`},
		"node: {usage_log: 7m}": {"w.yaml:1: node.usage_log: is 7m0s: it " +
			"must be 1m0s to 24h0m0s and divide an hour or a day"},
		"node: {pool: [10.0.0.0/8, 10.1.0.0/16]}": {"w.yaml:1: node.pool: 10.1.0.0/16 " +
			"overlaps Prefixes[0], 10.0.0.0/8; keep one of them"},
		"node: {dns: [1.1.1.1, 1.1.1.1]}": {`w.yaml:1: node.dns[1]: "1.1.1.1" is there twice: leave one out`},
		"node: {private_key_file: nothing}": {"w.yaml:1: node.private_key_file: read " +
			"key file nothing: it holds no private key: it must have one line of 44 characters in base64, as 'wg genkey' writes it"},
		"allowlist: {file: list, url: 'https://example.com/l'}\nnode: {control_ports: 22}": {"w.yaml:1: allowlist.file: is given " +
			"beside allowlist.url: give one of them"},
		"allowlist: {file: list}": {"w.yaml:1: allowlist.file: says who " +
			"reaches the API's TCP ports and node.control_ports, and there are none: name ports, or leave it out"},
		"allowlist: {file: bad.list}\nnode: {control_ports: 22}": {"w.yaml:1: allowlist.file: bad.list: " +
			"line 2: 198.51.100.7/24 is either 198.51.100.7 or 198.51.100.0/24: give the one that is meant"},
		"allowlist: {file: list}\nnode: {control_ports: [22, 80]}": nil,
		"privacy: {max_retention: 30d}\nnode: {usage_log: none}": {"audit.retention: is 366d, and " +
			"privacy.max_retention allows 30d (w.yaml:1): shorten it"},
		"fleet: {url: 'https://f.example.com/v1', database: 'host=db'}": {"w.yaml:1: fleet.database: is given beside fleet.url: " +
			"give one of them"},
		"fleet: {pins: 'sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='}": {"w.yaml:1: fleet.pins: is about fleet.url, which " +
			"is none: give that, or leave it out"},
		"fleet: {database: 'host=db'}\nnode: {store: memory}": {"w.yaml:2: node.store: is memory, and a node in a fleet has to " +
			"know its peers after a restart: set it to file"},
		"fleet: {database: 'host=db'}\nnode: {name: 'fra 1'}": {"w.yaml:2: node.name: is no name that a fleet takes: give 1 to 64 " +
			"letters, digits, '.', '_' and '-'"},
		"fleet: {url: 'https://f.example.com/v1'}\nnode: {name: fra-1}\napi: {auth: {audience: ams-1}}": {"w.yaml:3: " +
			"api.auth.audience: is not node.name, which the control plane of fleet.url signs its requests for: leave it out"},
		"fleet: {url: 'https://f.example.com/v1'}\nnode: {name: fra-1}\napi: {auth: {audience: fra-1}}": nil,
		"tracing: {headers: nothing}": {"w.yaml:1: tracing.headers: is not a " +
			"list of headers: give such as authorization=Bearer%20abc,x-team=vpn"},
		"log: {level: loud}\nnode: {mtu: x}": {`w.yaml:2: node.mtu: "x" is not a number that can be here: give 1280 to 9000`,
			`w.yaml:1: log.level: "loud" is not known: give debug, info, warn or error`},
	} {
		opts := options(t, text)
		files(t, opts)
		if want == nil {
			_, err := config.Load(opts)
			require.NoError(t, err, text)
			continue
		}
		require.Equal(t, want, problems(t, opts), text)
	}
}

func TestHeaderValues(t *testing.T) {
	require.Nil(t, config.Tracing{}.HeaderValues())
	require.Equal(t, map[string]string{"authorization": "Bearer abc", "x-team": "a=b"},
		config.Tracing{Headers: config.NewSecret("authorization=Bearer%20abc, x-team = a=b")}.HeaderValues())
	for _, wrong := range []string{"a", "=b", "a=%zz", "a=%0ab", "a b=c"} {
		require.Error(t, config.Valid("tracing.headers", wrong), wrong)
	}
}

// TestSecretsThatAreRefused: what package auth would refuse at the start, or what everybody knows, is no secret to begin with.
func TestSecretsThatAreRefused(t *testing.T) {
	long := strings.Repeat("a", 40)
	require.NoError(t, config.Valid("api.auth.bearer_token", long+"+/="))
	for _, wrong := range []string{long + ".a", long + " a", long + "é"} {
		require.ErrorContains(t, config.Valid("api.auth.bearer_token", wrong), "visible ASCII", wrong)
	}
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	file := filepath.Join(t.TempDir(), "public.pem")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	for alg, faulty := range map[string]bool{config.HS256: true, config.EdDSA: false} {
		path := filepath.Join(t.TempDir(), "w.yaml")
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil,
			"api: {auth: {keys: [{kid: a, alg: %s, file: %s, scopes: ['peers:read']}]}}", alg, file), 0o600))
		_, err = config.Load(config.Options{File: path, Environ: []string{"HOME=/home/a"}})
		require.Equal(t, faulty, err != nil, "%v", err)
		if faulty {
			require.ErrorContains(t, err, "is in PEM, and no secret")
		}
	}
}
