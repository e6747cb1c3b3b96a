// Package mtls keeps the certificate of a server, and the CAs that its clients' certificates must lead to, and has them anew
// from their files while connections go on.
//
//	certs, err := mtls.New(mtls.Config{CertFile: "node.pem", KeyFile: "node.key", ClientCAFile: "clients.pem"})
//	...
//	server.TLSConfig = certs.TLSConfig()
//	a, err := auth.New(auth.Config{ClientCAs: certs.ClientCAs, ...})
//
// It starts no goroutine, has nothing to close, and needs no privilege. Whom a client certificate stands for is package auth's.
package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCertificate says that a file has not what it should.
var ErrCertificate = errors.New("the certificate cannot be used")

// Config names files. Zero values are the defaults.
type Config struct {
	// CertFile has the server's certificate and those between it and its root, in PEM, and KeyFile its private key.
	CertFile, KeyFile string
	// ClientCAFile has the CAs of clients, in PEM. Empty: clients are not asked for certificates.
	ClientCAFile string
	// Require refuses connections of clients without a certificate. Else they may show in another way who they are.
	Require bool
	// Check is how often, at most, a handshake looks whether the files have changed. 0: 10 s; negative: never, only Reload reads
	// them.
	Check time.Duration
	// Logger is told when files that have changed cannot be used. nil: nobody is.
	Logger *slog.Logger
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Certificates are those of a server. They may be used concurrently.
type Certificates struct {
	cfg     Config
	current atomic.Pointer[state]

	mu      sync.Mutex // of reading files
	looked  time.Time
	tried   [3]stamp // of the files when they were last read, well or not
	failure error    // of the last reading
}

// state is what the files had.
type state struct {
	config *tls.Config
	pool   *x509.CertPool
	leaf   *x509.Certificate
}

// stamp tells whether a file is another.
type stamp struct {
	modified time.Time
	size     int64
}

// New reads the files.
func New(cfg Config) (*Certificates, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, fmt.Errorf("%w: name the file of the server's certificate (CertFile), and that of its key (KeyFile)",
			ErrCertificate)
	}
	if cfg.Require && cfg.ClientCAFile == "" {
		return nil, fmt.Errorf("%w: clients are to have one, of no CA: name the file of CAs (ClientCAFile)", ErrCertificate)
	}
	if cfg.Check == 0 {
		cfg.Check = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Certificates{cfg: cfg}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files anew, and has them for connections that come. If anything is wrong, it keeps what it has. Connections
// that there are go on; [Certificates.ClientCAs] lets package auth refuse what comes through those whose CA has gone.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reloadLocked()
}

// Prepare is Reload in two steps, for who changes more than certificates, and all of it or nothing: what it returns has the files as
// they were read for connections that come.
func (c *Certificates) Prepare() (use func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps := c.stamps()
	s, err := c.readLocked()
	if err != nil {
		return nil, err
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.looked, c.tried = c.cfg.Now(), stamps // what a handshake has read since then, the next one reads again
		c.current.Store(s)
	}, nil
}

func (c *Certificates) reloadLocked() error {
	// What changes while it is read differs from its stamp afterwards, and is read again.
	c.looked, c.tried = c.cfg.Now(), c.stamps()
	s, err := c.readLocked()
	if err != nil {
		return err
	}
	c.current.Store(s)
	return nil
}

func (c *Certificates) readLocked() (*state, error) {
	s, err := c.read()
	c.failure = err
	return s, err
}

func (c *Certificates) stamps() (all [3]stamp) {
	for i, path := range [3]string{c.cfg.CertFile, c.cfg.KeyFile, c.cfg.ClientCAFile} {
		if info, err := os.Stat(path); err == nil {
			all[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

func (c *Certificates) read() (*state, error) {
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %s and %s: %w", ErrCertificate, c.cfg.CertFile, c.cfg.KeyFile, err)
	}
	s := &state{leaf: pair.Leaf, config: &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
		// A ticket would bring back a client whose CA has gone since it was given.
		SessionTicketsDisabled: true,
	}}
	if c.cfg.ClientCAFile == "" {
		return s, nil
	}
	data, err := os.ReadFile(c.cfg.ClientCAFile)
	if err != nil {
		return nil, err
	}
	s.pool = x509.NewCertPool()
	if !s.pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%w: %s has no certificate in PEM", ErrCertificate, c.cfg.ClientCAFile)
	}
	s.config.ClientCAs, s.config.ClientAuth = s.pool, tls.VerifyClientCertIfGiven
	if c.cfg.Require {
		s.config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return s, nil
}

// look reads the files if they have changed, and it has not looked for a while.
func (c *Certificates) look() {
	if c.cfg.Check < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.cfg.Now(); now.Sub(c.looked) < c.cfg.Check {
		return
	}
	if c.looked = c.cfg.Now(); c.stamps() == c.tried {
		return
	}
	if err := c.reloadLocked(); err != nil {
		c.cfg.Logger.Error("changed certificates not read: the former ones are kept", "error", err)
	}
}

// TLSConfig is that of a server: TLS 1.3, and for each connection what the files have by then.
func (c *Certificates) TLSConfig() *tls.Config {
	cfg := c.current.Load().config.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.look()
		return c.current.Load().config, nil
	}
	return cfg
}

// ClientCAs are the CAs of clients. nil: clients are not asked for certificates.
func (c *Certificates) ClientCAs() *x509.CertPool { return c.current.Load().pool }

// Leaf is the server's certificate.
func (c *Certificates) Leaf() *x509.Certificate { return c.current.Load().leaf }

// Err is what was wrong when the files were last read. nil: nothing.
func (c *Certificates) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}
