package supabase

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says how a fleet is reached. CredentialFile is required, and for an enrollment URLs are.
type Config struct {
	// CredentialFile is the path of the file that an enrollment writes, in a directory that is there.
	CredentialFile string
	// ControlKeysFile is the path of a file that is to have the keys which the control plane signs its requests with, as a JWK Set, in
	// a directory that is there. Empty: none is written.
	ControlKeysFile string
	// OnControlKeys is told of control keys that have changed, after they are in the file. It may be called from any goroutine that
	// makes a call, one at a time. An error is logged, and it is told them again the next time they come.
	OnControlKeys func(ctx context.Context, jwks []byte) error

	// URLs are the base URLs of the fleet, such as "https://project.supabase.co/functions/v1", the first preferred; 16 at most.
	// Empty: those of the credential. Else one of them at least must be one of the credential's.
	URLs []string
	// Audience is the fleet's name, if the credential is to be held to it.
	Audience string
	// PlainHTTP lets URLs begin with http:// that lead elsewhere than to the loopback. Whoever is on the way then sees all but the
	// private key, and can send a node astray.
	PlainHTTP bool

	// Pins, if there are any, are the only keys that servers may have, beside the usual rules: each is the SHA-256 of a
	// SubjectPublicKeyInfo (RFC 7469, section 2.4) of a certificate of the server's verified chain, in base64, as "sha256/...". Give two
	// at least, of which one is in reserve. They hold for all URLs, which must be https then. A server that shows none of them is not
	// asked: the call goes on to another URL that does, and else its error matches [ErrPin].
	Pins []string
	// RootCAs are certificates in PEM which are trusted beside the system's.
	RootCAs []byte
	// Proxy is the URL (http, socks5, socks5h) of a proxy that requests go through. Empty: none; the environment is not asked.
	Proxy string

	// ConnectTimeout is for the connection, and again for TLS; 0: 5 s. HeaderTimeout is from the request's end to the answer's
	// beginning; 0: 10 s. Timeout is for all that one URL takes; 0: 15 s. A call takes that times the URLs at most, and no longer than
	// its context lasts, which is shared out among them.
	ConnectTimeout, HeaderTimeout, Timeout time.Duration
	// ReturnAfter is how long a URL that failed is not asked while another works; 0: 5 min.
	ReturnAfter time.Duration

	// UserAgent is the header's; empty: "waylume".
	UserAgent string
	// Logger is told of URLs that fail and come back, and of credentials that change. Nil: nobody is.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// complete checks a configuration, and gives what is left out. All that is wrong is in the error.
func (c *Config) complete() error {
	var errs []error
	if c.CredentialFile == "" {
		errs = append(errs, errors.New("CredentialFile is empty: give the path of the node's credential"))
	}
	if len(c.URLs) > maxURLs {
		errs = append(errs, fmt.Errorf("URLs are %d: give %d at most", len(c.URLs), maxURLs))
	}
	c.URLs = slices.Clone(c.URLs)
	for i, text := range c.URLs {
		u, err := c.parseURL(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("URLs[%d]: %w", i, err))
			continue
		}
		if c.URLs[i] = u; slices.Contains(c.URLs[:i], u) {
			errs = append(errs, fmt.Errorf("URLs[%d]: %s is there twice", i, u))
		}
	}
	if _, err := parsePins(c.Pins); err != nil {
		errs = append(errs, err)
	}
	if len(c.RootCAs) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.RootCAs) {
		errs = append(errs, errors.New("RootCAs has no certificate in PEM"))
	}
	if _, err := parseProxy(c.Proxy); err != nil {
		errs = append(errs, err)
	}
	for _, d := range []struct {
		name      string
		value     *time.Duration
		otherwise time.Duration
	}{
		{"ConnectTimeout", &c.ConnectTimeout, 5 * time.Second},
		{"HeaderTimeout", &c.HeaderTimeout, 10 * time.Second},
		{"Timeout", &c.Timeout, 15 * time.Second},
		{"ReturnAfter", &c.ReturnAfter, 5 * time.Minute},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v: give 0 or more", d.name, *d.value))
		}
		*d.value = cmp.Or(*d.value, d.otherwise)
	}
	if strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) {
		errs = append(errs, errors.New("UserAgent has other than printable ASCII characters"))
	}
	c.UserAgent = cmp.Or(c.UserAgent, "waylume")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return errors.Join(errs...)
}

// parseURL is parseURL with what the configuration allows.
func (c *Config) parseURL(text string) (string, error) {
	u, err := parseURL(text, c.PlainHTTP)
	if err == nil && len(c.Pins) > 0 && !strings.HasPrefix(u, "https:") {
		return "", fmt.Errorf("%s: there are Pins, which hold for https alone", u)
	}
	return u, err
}

// parseURL returns a base URL in the form to which paths are added.
func parseURL(text string, plain bool) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https": // without the text, which may hold a password
		return "", errors.New("it is not where functions are: give such as https://project.supabase.co/functions/v1")
	case u.User != nil:
		return "", errors.New("it has a user in it, whom the fleet does not know: leave him out")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("it has a query or a fragment: leave it out")
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return "", fmt.Errorf("%s: a fleet is asked by https; http is for the loopback alone, unless PlainHTTP says otherwise", text)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// parseProxy returns the URL of a proxy, nil if there is none.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "socks5", "socks5h"}, u.Scheme) {
		return nil, errors.New("Proxy is no URL of a proxy: give such as http://proxy.example.com:3128")
	}
	return u, nil
}

// pinSize is the size of a pin, in bytes: that of SHA-256.
const pinSize = 32

// parsePins reads pins.
func parsePins(texts []string) ([][pinSize]byte, error) {
	pins := make([][pinSize]byte, 0, len(texts))
	for i, text := range texts {
		word, ok := strings.CutPrefix(text, "sha256/")
		b, err := base64.StdEncoding.Strict().DecodeString(word)
		if !ok || err != nil || len(b) != pinSize {
			return nil, fmt.Errorf("Pins[%d] is %q: give sha256/ and 44 characters in base64", i, text)
		}
		pins = append(pins, [pinSize]byte(b))
	}
	return pins, nil
}
