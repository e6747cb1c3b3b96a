package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/mtls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is one whose certificate a CA has signed.
func (h *host) client(t *testing.T, by ca, template *x509.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(h.servers.cert)
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if template != nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		cert, key := issue(t, by, template)
		// Whatever CAs the server names.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
		}
	}
	tr := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(c *http.Client, url string) (status int, body string, err error) {
	res, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// serve serves principals' names with certificates of files.
func (h *host) serve(t *testing.T, trust []auth.Certificate) (*mtls.Certificates, string) {
	t.Helper()
	certs, err := mtls.New(h.Config)
	require.NoError(t, err)
	a, err := auth.New(auth.Config{Trust: auth.Trust{Certificates: trust}, ClientCAs: certs.ClientCAs})
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(a.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := auth.FromContext(r.Context())
		_, _ = io.WriteString(w, p.Method+" "+p.Name)
	})))
	s.TLS = certs.TLSConfig()
	s.StartTLS()
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, a.Close())
	})
	return certs, s.URL
}

func TestPrincipalsByCertificate(t *testing.T) {
	h := newHost(t)
	read := []auth.Scope{auth.PeersRead}
	_, url := h.serve(t, []auth.Certificate{
		{CommonName: "control-plane", Scopes: read},
		{DNS: "cp.example.com", Name: "by-dns", Scopes: read},
		{URI: "spiffe://example.com/cp", Scopes: read},
		{Email: "ops@example.com", Scopes: read},
	})
	spiffe := mustURL(t, "spiffe://example.com/cp")
	for _, c := range []struct {
		name     string
		template *x509.Certificate
		status   int
		body     string
	}{
		{"CN", &x509.Certificate{Subject: pkix.Name{CommonName: "control-plane"}}, 200, "mtls control-plane"},
		{"DNS", &x509.Certificate{DNSNames: []string{"x.example.com", "CP.example.com"}}, 200, "mtls by-dns"},
		{"URI", &x509.Certificate{URIs: spiffe}, 200, "mtls spiffe://example.com/cp"},
		{"email", &x509.Certificate{EmailAddresses: []string{"ops@example.com"}}, 200, "mtls ops@example.com"},
		{"a DNS name as CN", &x509.Certificate{Subject: pkix.Name{CommonName: "cp.example.com"}}, 403, "/problems/forbidden"},
		{"a longer CN", &x509.Certificate{Subject: pkix.Name{CommonName: "control-plane2"}}, 403, "/problems/forbidden"},
		{"no certificate", nil, 401, "/problems/unauthenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, err := get(h.client(t, h.clients, c.template), url)
			require.NoError(t, err)
			require.Equal(t, c.status, status, body)
			require.Contains(t, body, c.body)
		})
	}
	_, _, err := get(h.client(t, newCA(t, "others"), &x509.Certificate{Subject: pkix.Name{CommonName: "control-plane"}}), url)
	require.Error(t, err, "a certificate of a CA that is not trusted ends the handshake")
	_, _, err = get(h.client(t, h.clients, &x509.Certificate{Subject: pkix.Name{CommonName: "control-plane"},
		NotAfter: time.Now().Add(-time.Minute)}), url)
	require.Error(t, err)
}

// With Any whoever a CA has signed for is somebody: whom the certificate names first in a way that a name can be.
func TestAnyCertificate(t *testing.T) {
	h := newHost(t)
	_, url := h.serve(t, []auth.Certificate{{CommonName: "admin", Scopes: auth.Scopes()}, {Any: true, Scopes: []auth.Scope{auth.PeersRead}}})
	for _, c := range []struct {
		template *x509.Certificate
		status   int
		body     string
	}{
		{&x509.Certificate{Subject: pkix.Name{CommonName: "edge"}, DNSNames: []string{"e.example.com"}}, 200, "mtls edge"},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "a\x00b"}, DNSNames: []string{"e.example.com"}}, 200, "mtls e.example.com"},
		{&x509.Certificate{URIs: mustURL(t, "spiffe://example.com/cp")}, 200, "mtls spiffe://example.com/cp"},
		{&x509.Certificate{Subject: pkix.Name{CommonName: strings.Repeat("a", 64)}}, 200, "mtls " + strings.Repeat("a", 64)},
		{&x509.Certificate{Subject: pkix.Name{Organization: []string{"no name"}}}, 403, "/problems/forbidden"},
	} {
		status, body, err := get(h.client(t, h.clients, c.template), url)
		require.NoError(t, err)
		require.Equal(t, c.status, status, body)
		require.Contains(t, body, c.body)
	}
	for _, wrong := range []auth.Certificate{
		{Scopes: auth.Scopes()}, {Any: true}, {Any: true, CommonName: "a", Scopes: auth.Scopes()},
		{Any: true, Name: "a\nb", Scopes: auth.Scopes()},
	} {
		_, err := auth.New(auth.Config{Trust: auth.Trust{Certificates: []auth.Certificate{wrong}}})
		require.ErrorContains(t, err, "Certificates[0]")
	}
}

// Where there are no CAs of clients, a certificate counts for nobody, whoever has signed it for the world.
func TestNoClientCAs(t *testing.T) {
	ca := newCA(t, "world")
	leaf, _ := issue(t, ca, &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	roots := filepath.Join(t.TempDir(), "roots.pem")
	require.NoError(t, os.WriteFile(roots, certPEM(ca.cert), 0o600))
	t.Setenv("SSL_CERT_FILE", roots) // what the system's roots are, if nobody has asked for them before
	a, err := auth.New(auth.Config{
		Trust:     auth.Trust{Certificates: []auth.Certificate{{Any: true, Scopes: auth.Scopes()}}},
		ClientCAs: func() *x509.CertPool { return nil },
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, ca.cert}}}
	w := httptest.NewRecorder()
	a.Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Contains(t, w.Body.String(), "counts no more")
}

func TestReloadDuringTraffic(t *testing.T) {
	h := newHost(t)
	h.Check = -1
	certs, url := h.serve(t, []auth.Certificate{{CommonName: "a", Scopes: auth.Scopes()}})
	var served, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		c := h.client(t, h.clients, &x509.Certificate{Subject: pkix.Name{CommonName: "a"}})
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%5 == 4 {
					c.CloseIdleConnections() // others stay on one connection
				}
				if status, _, err := get(c, url); err != nil || status != http.StatusOK {
					failed.Add(1)
					t.Error(status, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for range 10 {
		want := h.write(t)
		before := served.Load()
		require.NoError(t, certs.Reload())
		require.Equal(t, want, certs.Leaf())
		require.Eventually(t, func() bool { return served.Load() > before+8 || failed.Load() > 0 }, 20*time.Second, time.Millisecond)
	}
	close(stop)
	wg.Wait()
	require.Zero(t, failed.Load())
}

// A CA that is taken away counts no more at once, also for connections that stand.
func TestClientCAIsTakenAway(t *testing.T) {
	h := newHost(t)
	h.Check = -1
	certs, url := h.serve(t, []auth.Certificate{{CommonName: "a", Scopes: auth.Scopes()}})
	c := h.client(t, h.clients, &x509.Certificate{Subject: pkix.Name{CommonName: "a"}})
	status, _, err := get(c, url)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	other := newCA(t, "other")
	h.trust(t, other)
	require.NoError(t, certs.Reload())
	status, body, err := get(c, url)
	require.NoError(t, err, "the connection stands")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, body, "CA counts no more")
	c.CloseIdleConnections()
	_, _, err = get(c, url)
	require.Error(t, err)
	status, _, err = get(h.client(t, other, &x509.Certificate{Subject: pkix.Name{CommonName: "a"}}), url)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
}

// Files that change are read by themselves, when they are whole.
func TestFilesThatChange(t *testing.T) {
	h := newHost(t)
	var now atomic.Int64
	h.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	certs, url := h.serve(t, []auth.Certificate{{CommonName: "a", Scopes: auth.Scopes()}})
	connect := func() {
		status, _, err := get(h.client(t, h.clients, &x509.Certificate{Subject: pkix.Name{CommonName: "a"}}), url)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
	}
	first := certs.Leaf()
	second := h.write(t)
	key, err := os.ReadFile(h.KeyFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(h.KeyFile, key[:20], 0o600)) // being written
	connect()
	require.Equal(t, first, certs.Leaf(), "it looks every 10 s")
	now.Add(10)
	connect()
	require.Equal(t, first, certs.Leaf(), "what is not whole is not taken")
	require.ErrorIs(t, certs.Err(), mtls.ErrCertificate)
	require.NoError(t, os.WriteFile(h.KeyFile, key, 0o600))
	now.Add(10)
	connect()
	require.Equal(t, second, certs.Leaf())
	require.NoError(t, certs.Err())
}

// What is prepared is in force when it is used, and not before; what is not whole cannot be prepared.
func TestPrepare(t *testing.T) {
	h := newHost(t)
	h.Check = -1
	certs, err := mtls.New(h.Config)
	require.NoError(t, err)
	first := certs.Leaf()
	second := h.write(t)
	use, err := certs.Prepare()
	require.NoError(t, err)
	require.Equal(t, first, certs.Leaf())
	use()
	require.Equal(t, second, certs.Leaf())
	require.NoError(t, os.WriteFile(h.KeyFile, nil, 0o600))
	_, err = certs.Prepare()
	require.ErrorIs(t, err, mtls.ErrCertificate)
	require.ErrorIs(t, certs.Err(), mtls.ErrCertificate)
	require.Equal(t, second, certs.Leaf())
}

func TestNewRefuses(t *testing.T) {
	h := newHost(t)
	for name, change := range map[string]func(*mtls.Config){
		"CertFile":                          func(c *mtls.Config) { c.CertFile = "" },
		"no such file":                      func(c *mtls.Config) { c.CertFile += "x" },
		"has no certificate":                func(c *mtls.Config) { c.ClientCAFile = c.KeyFile },
		"clients are to have one, of no CA": func(c *mtls.Config) { c.ClientCAFile, c.Require = "", true },
	} {
		cfg := h.Config
		change(&cfg)
		c, err := mtls.New(cfg)
		require.ErrorContains(t, err, name)
		require.Nil(t, c)
	}
}

func mustURL(t *testing.T, raw string) []*url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return []*url.URL{u}
}
