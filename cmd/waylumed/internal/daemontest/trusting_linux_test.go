package daemontest

import (
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

const (
	readPeers, writePeers, adminNode = "peers:read", "peers:write", "node:admin"

	// bearer is a plain token.
	bearer = "a-plain-token-of-this-host-0123456789"
)

// trusting is a site whose API is served over TLS on the loopback, to holders of keys and of certificates.
type trusting struct {
	*site
	servers, clients ca
	base             string
	serial           fmt.Stringer // of the server's certificate
	writer, reader   sign.Key
	keys             []settings
	secret           string // the reader's
}

func newTrusting(tb testing.TB, others settings) *trusting {
	tb.Helper()
	address := loopback(tb)
	s := &trusting{
		site: newSite(tb, nil), servers: newCA(tb, "servers"), clients: newCA(tb, "clients"), base: "https://" + address,
		secret: strings.Repeat("reader's ", 5),
	}
	s.serial = s.servers.server(tb, s.site, net.IPv4(127, 0, 0, 1))
	s.write(tb, "clients.pem", "CERTIFICATE", s.clients.cert.Raw)
	s.writer = s.newKey(tb, "writer", readPeers, writePeers, adminNode)
	var err error
	s.reader, err = sign.HMAC("reader", []byte(strings.TrimSpace(s.secret)))
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(s.path("reader.key"), []byte(s.secret), 0o600))
	s.keys = append(s.keys, settings{"kid": "reader", "alg": "HS256", "file": s.path("reader.key"), "scopes": []string{readPeers}})
	s.set(tb, settings{
		"api.listen": []string{"unix:" + s.socket(), address}, "api.tls.cert_file": s.path("cert.pem"), "api.tls.key_file": s.path("key.pem"),
		"api.tls.client_ca_file": s.path("clients.pem"), "api.auth.keys": s.keys, "api.auth.bearer_token": bearer,
		"api.auth.bearer_scopes": []string{readPeers},
	}.with(others))
	return s
}

// newKey makes a key of Ed25519 and adds it to those of the configuration, without writing that.
func (s *trusting) newKey(tb testing.TB, id string, scopes ...string) sign.Key {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(tb, err)
	key, err := sign.Ed25519(id, private)
	require.NoError(tb, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(tb, err)
	s.write(tb, id+".pem", "PUBLIC KEY", der)
	s.keys = append(s.keys, settings{"kid": id, "alg": "EdDSA", "file": s.path(id + ".pem"), "scopes": scopes})
	return key
}

// request is one that is signed, and not sent yet.
func (s *trusting) request(tb testing.TB, method, path, body string, key sign.Key, c sign.Claims) *http.Request {
	tb.Helper()
	req, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	require.NoError(tb, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	require.NoError(tb, sign.Request(req, key, c))
	return req
}

// send sends a request as it is, with a body.
func send(tb testing.TB, client *http.Client, req *http.Request, body string) reply {
	tb.Helper()
	req.Body, req.ContentLength, req.GetBody = io.NopCloser(strings.NewReader(body)), int64(len(body)), nil
	res, err := client.Do(req)
	require.NoError(tb, err)
	got, err := io.ReadAll(res.Body)
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
	return reply{res.StatusCode, res.Header, got}
}
