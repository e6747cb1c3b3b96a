package supabase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase/supabasetest"
)

func pinOf(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// authority signs certificates of servers on the loopback.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{certificate, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// serve has a handler be served with a certificate of the authority's, and a key of its own.
func (a *authority) serve(t *testing.T, h http.Handler) (url string, leaf *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.certificate, &key.PublicKey, a.key)
	require.NoError(t, err)
	leaf, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL + prefix, leaf
}

// A pin is of the server's own key, or of the authority's; it is held to beside the usual rules, not instead of them.
func TestPins(t *testing.T) {
	s := newSite(t)
	good, other := newAuthority(t), newAuthority(t)
	one, leaf := good.serve(t, s.fleet)
	two, _ := good.serve(t, s.fleet)
	wrong := pinOf(other.certificate)
	base := s.config()
	base.RootCAs = good.pem()
	base.URLs = []string{one, two}
	s.enroll(base, supabasetest.Token{})
	for name, c := range map[string]struct {
		urls  []string
		pins  []string
		roots []byte
		pin   bool // the error is of the pin
		ok    bool
	}{
		"none":                             {urls: base.URLs, ok: true},
		"the server's":                     {urls: []string{one}, pins: []string{pinOf(leaf)}, ok: true},
		"the server's, beside one in wait": {urls: []string{one}, pins: []string{wrong, pinOf(leaf)}, ok: true},
		"the authority's":                  {urls: []string{two}, pins: []string{pinOf(good.certificate)}, ok: true},
		"nobody's":                         {urls: base.URLs, pins: []string{wrong}, pin: true},
		"another server's":                 {urls: []string{two}, pins: []string{pinOf(leaf)}, pin: true},
		"the second's is right":            {urls: []string{two, one}, pins: []string{pinOf(leaf)}, ok: true},
		"right, of one that nobody trusts": {urls: []string{one}, pins: []string{pinOf(leaf)}, roots: other.pem()},
	} {
		t.Run(name, func(t *testing.T) {
			var log logs
			cfg := base
			cfg.URLs, cfg.Pins, cfg.Logger = c.urls, c.pins, log.logger()
			if c.roots != nil {
				cfg.RootCAs = c.roots
			}
			client := s.open(cfg)
			_, err := client.Register(t.Context(), registration("fra-1"))
			if c.ok {
				require.NoError(t, err)
				if len(c.urls) == 2 && c.pins != nil {
					require.Contains(t, log.String(), "no pin is of the server's certificates")
				}
				return
			}
			require.ErrorIs(t, err, registry.ErrUnavailable)
			if c.pin {
				require.ErrorIs(t, err, ErrPin)
				require.ErrorContains(t, err, "then give the new pin")
			} else {
				require.NotErrorIs(t, err, ErrPin)
				require.ErrorContains(t, err, "unknown authority")
			}
		})
	}
}

// With pins, no URL is without TLS: not of the configuration, not of the credential, and not of an enrollment's answer.
func TestPinsNeedTLS(t *testing.T) {
	s := newSite(t)
	plain := httptest.NewServer(s.fleet)
	t.Cleanup(plain.Close)
	cfg := s.config()
	cfg.URLs = []string{plain.URL + prefix}
	s.enroll(cfg, supabasetest.Token{})
	s.open(cfg) // the loopback may do without

	cfg.Pins = []string{pinOf(s.server.Certificate())}
	_, err := Open(cfg)
	require.ErrorContains(t, err, "Pins, which hold for https alone")
	cfg.URLs = nil
	_, err = Open(cfg)
	require.ErrorContains(t, err, "Pins, which hold for https alone")
}

// A server that no authority vouches for is not spoken with, and TLS 1.2 neither.
func TestTLS(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	n := s.node(cfg)
	require.NoError(t, n.beat(t.Context()))
	stranger := cfg
	stranger.RootCAs = nil
	err := (&node{Client: s.open(stranger), Registered: n.Registered}).beat(t.Context())
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, "certificate")

	old := httptest.NewUnstartedServer(s.fleet)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	old.Config.ErrorLog = quiet()
	old.StartTLS()
	t.Cleanup(old.Close)
	cfg.URLs = []string{old.URL + prefix, s.url()}
	cfg.RootCAs = append(cfg.RootCAs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Certificate().Raw})...)
	var log logs
	cfg.Logger = log.logger()
	require.NoError(t, (&node{Client: s.open(cfg), Registered: n.Registered, sequence: 1}).beat(t.Context()))
	require.Contains(t, log.String(), "protocol version")
}

// Nothing goes through a proxy that the environment names, and all through the one that is configured.
func TestProxy(t *testing.T) {
	var tunnels atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels.Add(1)
		there, err := net.Dial("tcp", r.Host)
		if r.Method != http.MethodConnect || err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		// Only then the answer: what the client sends after it, the server would have begun to read.
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			defer here.Close()
			_, _ = io.Copy(here, there)
		}()
		defer there.Close()
		_, _ = io.Copy(there, here)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	s := newSite(t)
	cfg := s.config()
	n := s.node(cfg)
	require.NoError(t, n.beat(t.Context()))
	require.Zero(t, tunnels.Load())

	cfg.Proxy = proxy.URL
	through := &node{Client: s.open(cfg), Registered: n.Registered, sequence: 1}
	require.NoError(t, through.beat(t.Context()))
	require.EqualValues(t, 1, tunnels.Load())
	transport, err := through.own.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "example.com"}})
	require.NoError(t, err)
	require.Equal(t, proxy.URL, transport.String())
}

func TestConfigRefuses(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"CredentialFile is empty":         func(c *Config) { c.CredentialFile = "" },
		"http is for the loopback alone":  func(c *Config) { c.URLs = []string{"http://fleet.example.com"} },
		"is there twice":                  func(c *Config) { c.URLs = []string{"https://a.example.com", "https://a.example.com/"} },
		"it has a user in it":             func(c *Config) { c.URLs = []string{"https://me:secret@a.example.com"} },
		"a query or a fragment":           func(c *Config) { c.URLs = []string{"https://a.example.com/?a=b"} },
		"not where functions are":         func(c *Config) { c.URLs = []string{"ftp://a.example.com"} },
		"give 16 at most":                 func(c *Config) { c.URLs = make([]string, 17) },
		"Pins[1] is":                      func(c *Config) { c.Pins = []string{pinOf(&x509.Certificate{}), "sha1/AAAA"} },
		"RootCAs has no certificate":      func(c *Config) { c.RootCAs = []byte("none") },
		"Proxy is no URL of a proxy":      func(c *Config) { c.Proxy = "proxy:3128" },
		"HeaderTimeout is -1s":            func(c *Config) { c.HeaderTimeout = -time.Second },
		"UserAgent has other than":        func(c *Config) { c.UserAgent = "a\r\nb" },
		"no certificate in PEM\nReturnAf": func(c *Config) { c.RootCAs, c.ReturnAfter = []byte("none"), -1 },
	} {
		cfg := Config{CredentialFile: "unused", URLs: []string{"https://fleet.example.com"}}
		edit(&cfg)
		_, err := Open(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, fine := range []string{"http://127.0.0.1:8000/functions/v1", "http://[::1]:8000", "http://localhost", "https://a.example.com/x/"} {
		cfg := Config{CredentialFile: "unused", URLs: []string{fine}}
		require.NoError(t, cfg.complete(), fine)
	}
	cfg := Config{CredentialFile: "unused", URLs: []string{"http://fleet.example.com"}, PlainHTTP: true}
	require.NoError(t, cfg.complete())
}
