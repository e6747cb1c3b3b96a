package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// Config says where an API is and how to ask it. The zero value is not of use: it has no URL.
type Config struct {
	// URL is where the API is: "https://node.example.com:8443", "http://127.0.0.1:8080", or "unix:/var/lib/waylume/api.sock" for a
	// Unix socket. A path in it stands before those of the API, which begin with /api/v1.
	URL string
	// Authorize adds to a request what says who makes it. It is called for each time that a request is sent, last of all, with the
	// body, which it must not change. Nil: nothing is added. See [Bearer].
	Authorize func(r *http.Request, body []byte) error
	// TLS is for https; nil: the system's certificate authorities and no certificate of the client. Not beside HTTPClient.
	TLS *tls.Config
	// HTTPClient sends requests through its Transport, and with its Timeout and Jar; redirects are not followed all the same. Nil: a
	// transport of the client's own, which takes no proxy from the environment. Not for a Unix socket.
	HTTPClient *http.Client
	// Timeout is how long the answer to one sending of a request may take, to its end; 0: [DefaultTimeout]. Events have none.
	Timeout time.Duration
	// Attempts is how often a request is sent at most, 1 to 10; 0: [DefaultAttempts].
	Attempts int
	// UserAgent stands before the client's own in the header User-Agent: "backend/1.2".
	UserAgent string
}

// Defaults of a [Config].
const (
	DefaultTimeout  = 30 * time.Second
	DefaultAttempts = 4
)

const (
	maxAttempts = 10
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
)

// Client asks an API. Use New.
type Client struct {
	base      *url.URL
	where     string
	http      *http.Client
	own       *http.Transport // nil: the caller's
	authorize func(*http.Request, []byte) error
	timeout   time.Duration
	attempts  int
	userAgent string
}

// New returns a client, having connected to nothing.
func New(cfg Config) (*Client, error) {
	c := &Client{
		where: cfg.URL, authorize: cfg.Authorize, timeout: cmp.Or(cfg.Timeout, DefaultTimeout),
		attempts: cmp.Or(cfg.Attempts, DefaultAttempts), userAgent: strings.TrimSpace(cfg.UserAgent + " " + agent()),
	}
	base, socket, err := parseURL(cfg.URL)
	switch {
	case err != nil:
		return nil, err
	case c.timeout < 0:
		return nil, fmt.Errorf("client: Timeout is %v: give 0 or more", cfg.Timeout)
	case c.attempts < 1 || c.attempts > maxAttempts:
		return nil, fmt.Errorf("client: Attempts is %d: give 0 to %d", cfg.Attempts, maxAttempts)
	case strings.ContainsAny(c.userAgent, "\r\n"):
		return nil, errors.New("client: UserAgent has more than one line")
	case cfg.HTTPClient != nil && (socket != "" || cfg.TLS != nil):
		return nil, errors.New("client: HTTPClient has a transport of its own, " +
			"which knows neither TLS nor the Unix socket of URL: leave it out")
	}
	c.base = base
	if cfg.HTTPClient != nil {
		own := *cfg.HTTPClient
		c.http = &own
	} else {
		c.own = newTransport(socket, cfg.TLS)
		c.http = &http.Client{Transport: c.own}
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Close ends the connections that wait to be used again. Requests that are under way go on.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// URL is where the API is, as Config has it.
func (c *Client) URL() string { return c.where }

// parseURL returns the URL that paths are joined to, and the path of a Unix socket if it is one.
func parseURL(text string) (base *url.URL, socket string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if strings.HasPrefix(path, "/") {
			path = "/" + strings.TrimLeft(path, "/") // unix:///run/api.sock, too
		}
		if !filepath.IsAbs(filepath.FromSlash(path)) || path == "/" {
			return nil, "", fmt.Errorf("client: %q is not where an API is: "+
				"give the whole path of the socket, as unix:/run/waylume/api.sock", text)
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, path, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, "", errors.New("client: the URL is not where an API is: give such as https://node.example.com:8443, " +
			"http://127.0.0.1:8080, or unix:/run/waylume/api.sock") // without the text, which may hold a password
	case u.User != nil:
		return nil, "", errors.New("client: the URL has a user in it, whom the API does not know: see Authorize")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, "", fmt.Errorf("client: %q has a query or a fragment: leave it out", text)
	}
	return u, "", nil
}

func newTransport(socket string, config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: 1 << 16,
	}
	if config != nil {
		t.TLSClientConfig = config.Clone()
	}
	if socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t
}

// agent is the client's own name and version.
func agent() string {
	const module = "github.com/waylume/waylume"
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module && m.Version != "" && m.Version != "(devel)" {
				version = strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "waylume-client/" + version
}

// Bearer authorizes requests with a token that never changes (RFC 6750, section 2.1). Whoever sees it can use it, so it is sent
// over TLS, through a Unix socket or to the loopback, and any other request fails.
func Bearer(token string) func(*http.Request, []byte) error {
	return func(r *http.Request, _ []byte) error {
		if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return errors.New("client: the bearer token is empty, or has characters that no token has")
		}
		if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) {
			return fmt.Errorf("client: a bearer token is not sent to %s without TLS: use https", r.URL.Host)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
