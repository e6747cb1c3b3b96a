package supabase

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

const (
	// idleTimeout is how long a connection is kept that nobody uses: longer than from one heartbeat to the next.
	idleTimeout = 90 * time.Second
	// pingAfter is how long a connection of HTTP/2 may be silent during a call, or between two, before it is asked whether it is
	// there, and pingTimeout how long that may take. One that is not is closed, and the next call has another.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// writeTimeout is how long a connection of HTTP/2 may take no bytes.
	writeTimeout = 10 * time.Second
	// maxHeader is the most of an answer's header that is read, in bytes.
	maxHeader = 64 << 10
)

// newTransport returns what connections are made by. The configuration is complete.
func newTransport(cfg *Config) (*http.Transport, error) {
	pins, err := parsePins(cfg.Pins)
	if err != nil {
		return nil, err
	}
	proxy, err := parseProxy(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	security := &tls.Config{MinVersion: tls.VersionTLS13}
	if len(cfg.RootCAs) > 0 {
		if security.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's certificate authorities, beside RootCAs: %w", err)
		}
		security.RootCAs.AppendCertsFromPEM(cfg.RootCAs)
	}
	if len(pins) > 0 {
		security.VerifyConnection = func(state tls.ConnectionState) error { return checkPins(pins, state) }
	}
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: security, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: cfg.ConnectTimeout, ResponseHeaderTimeout: cfg.HeaderTimeout, ExpectContinueTimeout: time.Second,
		IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout},
	}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	return transport, nil
}

// newClient returns a client with connections of its own, made as those of a transport are. It follows no redirect.
func newClient(like *http.Transport) *http.Client {
	return &http.Client{
		Transport:     like.Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkPins holds a server to the pins, beside what is verified anyway. It is asked of connections that resume a session, too.
func checkPins(pins [][pinSize]byte, state tls.ConnectionState) error {
	for _, chain := range state.VerifiedChains {
		for _, certificate := range chain {
			if slices.Contains(pins, sha256.Sum256(certificate.RawSubjectPublicKeyInfo)) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w (%s): somebody is in between, or its key has changed: then give the new pin", ErrPin, state.ServerName)
}
