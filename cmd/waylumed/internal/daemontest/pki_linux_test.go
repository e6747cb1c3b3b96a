package daemontest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// ca signs certificates.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(tb testing.TB, name string) ca {
	tb.Helper()
	c := ca{}
	c.cert, c.key = c.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return c
}

// issue signs a certificate; the zero ca has it sign itself.
func (c ca) issue(tb testing.TB, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(tb, err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if c.cert == nil {
		c = ca{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	require.NoError(tb, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	return cert, key
}

// server writes a certificate for a server at some addresses, and its key, and returns the certificate's serial number.
func (c ca) server(tb testing.TB, s *site, addrs ...net.IP) *big.Int {
	tb.Helper()
	cert, key := c.issue(tb, &x509.Certificate{IPAddresses: addrs})
	s.write(tb, "cert.pem", "CERTIFICATE", cert.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	s.write(tb, "key.pem", "PRIVATE KEY", der)
	return cert.SerialNumber
}

// client is a certificate for a client.
func (c ca) client(tb testing.TB, name string) tls.Certificate {
	tb.Helper()
	cert, key := c.issue(tb, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// trusted are clients' settings that trust the CA.
func (c ca) trusted(certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: certs}
}

// write writes a file in PEM.
func (s *site) write(tb testing.TB, name, kind string, der []byte) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(s.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// from is a client that connects from an address of the loopback, so that what it does wrong counts for it alone.
func from(addr string, cfg *tls.Config) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: cfg, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}}
}

// claims are those of a control plane.
func claims(scopes ...string) sign.Claims {
	return sign.Claims{Subject: "control-plane", Audience: name, Scopes: scopes}
}

// signing has a client sign all it asks.
func signing(client *http.Client, key sign.Key, claims sign.Claims) *http.Client {
	return &http.Client{Timeout: patience, Transport: &sign.Transport{Key: key, Claims: claims, Base: client.Transport}}
}
