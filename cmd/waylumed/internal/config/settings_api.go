package config

import (
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

const scopesOfPeers = string(auth.PeersRead) + "," + string(auth.PeersWrite)

func apiSettings() []Setting {
	return []Setting{
		many("api.listen", func(c *Config) *[]Address { return &c.API.Listen }, address(), "",
			"Where the API listens: unix sockets, and TCP, which beyond this host needs TLS and keys; none: no API", bySocket,
			derived("unix:api.sock in node.state", func(c *Config) { c.API.Listen = []Address{{"unix", inState(c, "api.sock")}} }),
			examples("unix:/run/waylume/api.sock", "127.0.0.1:8443", ":8443")),
		one("api.docs", func(c *Config) *bool { return &c.API.Docs }, boolean(), "false",
			"Serve a page about the API, with its OpenAPI document", reloadable),
		many("api.trusted_proxies", func(c *Config) *[]netip.Prefix { return &c.API.TrustedProxies }, prefix(), words.None,
			"Proxies whose X-Forwarded-For is believed"),
		one("api.socket.mode", func(c *Config) *fs.FileMode { return &c.API.Socket.Mode }, mode(), "0600",
			"The mode of unix sockets: who may connect at all"),
		many("api.socket.uids", func(c *Config) *[]uint32 { return &c.API.Socket.UIDs }, integer[uint32]("user ID", 0, math.MaxUint32),
			words.None, "Users whose requests over a unix socket are taken, beside root and the user that waylumed runs as", reloadable),
		one("api.tls.cert_file", func(c *Config) *string { return &c.API.TLS.CertFile }, optional(path("file")), words.None,
			"The certificate for TCP, and those that it is signed by, in PEM", inPath),
		one("api.tls.key_file", func(c *Config) *string { return &c.API.TLS.KeyFile }, optional(path("file, mode 0600 or 0400")),
			words.None,
			"Its private key, in PEM", inPath),
		one("api.tls.client_ca_file", func(c *Config) *string { return &c.API.TLS.ClientCAFile }, optional(path("file")), words.None,
			"Who signs the certificates of clients, in PEM; with it, a client that has one needs no token", inPath),
		many("api.tls.client_scopes", func(c *Config) *[]auth.Scope { return &c.API.TLS.ClientScopes }, scope(), scopesOfPeers,
			"What a client with a certificate may do", reloadable),
	}
}

func authSettings() []Setting {
	a := func(c *Config) *Auth { return &c.API.Auth }
	return []Setting{
		keySetting(),
		one("api.auth.jwks.url", func(c *Config) *string { return &a(c).JWKS.URL }, optional(source()), words.None,
			"Where more keys are read from (RFC 7517)", reloadable),
		one("api.auth.jwks.file", func(c *Config) *string { return &a(c).JWKS.File }, optional(path("file")), words.None,
			"The same, in a file", inPath, reloadable),
		one("api.auth.jwks.refresh", func(c *Config) *time.Duration { return &a(c).JWKS.Refresh }, duration(10*time.Second, day), "5m",
			"How often they are read again", reloadable),
		one("api.auth.jwks.max_stale", func(c *Config) *time.Duration { return &a(c).JWKS.MaxStale }, duration(10*time.Second, 30*day),
			"1d",
			"How long they are good while they cannot be read", reloadable),
		many("api.auth.jwks.scopes", func(c *Config) *[]auth.Scope { return &a(c).JWKS.Scopes }, scope(), scopesOfPeers,
			"The most that a token signed with one of them may do", reloadable),
		one("api.auth.bearer_token", func(c *Config) *Secret { return &a(c).BearerToken },
			optional(secret("text of 32 bytes or more", checkBearer)), words.None,
			"A token that is sent as it is, on this host alone", secretly, reloadable),
		many("api.auth.bearer_scopes", func(c *Config) *[]auth.Scope { return &a(c).BearerScopes }, scope(),
			scopesOfPeers+","+string(auth.NodeAdmin), "What a request with that token may do", reloadable),
		one("api.auth.audience", func(c *Config) *string { return &a(c).Audience }, text("text", 0, 255), "",
			"What tokens must have for aud (RFC 7519, section 4.1.3)", reloadable, derived("node.name", nil)),
		one("api.auth.clock_skew", func(c *Config) *time.Duration { return &a(c).ClockSkew }, duration(0, 30*time.Second), "5s",
			"By how much a client's clock may differ"),
	}
}

// minSecret is what RFC 7518, section 3.2 demands of a key for HS256, in bytes.
const minSecret = 32

func longEnough(text string) error {
	switch {
	case text == "":
		return errors.New("is empty: leave it out, or give 32 bytes or more, as from 'openssl rand -base64 32'")
	case len(text) < minSecret:
		return errors.New("is shorter than 32 bytes, and could be guessed: make one with 'openssl rand -base64 32'")
	}
	return nil
}

// checkBearer is what package auth insists on: a dot is of signed tokens.
func checkBearer(text string) error {
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || c == '.' }) {
		return errors.New("has a blank, a dot or what is no visible ASCII character: make one with 'openssl rand -base64 32'")
	}
	return longEnough(text)
}

func limitSettings() []Setting {
	r, l := func(c *Config) *Rate { return &c.API.Rate }, func(c *Config) *Limits { return &c.API.Limits }
	const second = time.Second
	return []Setting{
		one("api.rate.per_key", func(c *Config) *float64 { return &r(c).PerKey }, number("requests per second", 0.01, 1e6), "100",
			"How many requests one key may make, over time", reloadable),
		one("api.rate.per_source", func(c *Config) *float64 { return &r(c).PerSource }, number("requests per second", 0.01, 1e6), "50",
			"How many requests one address may make, over time", reloadable),
		one("api.rate.burst", func(c *Config) *int { return &r(c).Burst }, integer("requests", 1, 1_000_000), "200",
			"How many of them may come at once", reloadable),
		one("api.limits.body", func(c *Config) *quota.Bytes { return &l(c).Body }, amount(quota.KiB, 64*quota.MiB), "1MiB",
			"The largest body of a request"),
		one("api.limits.header", func(c *Config) *quota.Bytes { return &l(c).Header }, amount(quota.KiB, quota.MiB), "16KiB",
			"The largest header of a request"),
		one("api.limits.header_time", func(c *Config) *time.Duration { return &l(c).HeaderTime }, duration(second, time.Minute), "5s",
			"How long a client may take to send a header"),
		one("api.limits.request_time", func(c *Config) *time.Duration { return &l(c).RequestTime }, duration(second, 10*time.Minute),
			"30s",
			"How long a request may take from its first byte to its answer's last, but for streams of events"),
		one("api.limits.idle_time", func(c *Config) *time.Duration { return &l(c).IdleTime }, duration(second, time.Hour), "2m",
			"How long a connection may wait for its next request"),
		one("api.limits.connections", func(c *Config) *int { return &l(c).Connections }, integer("connections", 1, 1_000_000), "1024",
			"How many connections there may be at a time"),
		one("api.limits.connections_per_source", func(c *Config) *int { return &l(c).ConnectionsPerSource },
			integer("connections", 1, 1_000_000), "64", "How many of them may be from one address"),
	}
}

func validHeaders(text string) error {
	for pair := range strings.SplitSeq(text, ",") {
		if _, _, err := header(pair); err != nil {
			return err
		}
	}
	return nil
}

// header is one of the headers in a text: a name and, with its percent signs resolved, a value (as OTEL_EXPORTER_OTLP_HEADERS has
// them).
func header(pair string) (name, value string, err error) {
	name, value, ok := strings.Cut(pair, "=")
	name = strings.TrimSpace(name)
	value, bad := url.PathUnescape(strings.TrimSpace(value))
	if !ok || bad != nil || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return "", "", errors.New("is not a list of headers: give such as authorization=Bearer%20abc,x-team=vpn")
	}
	return name, value, nil
}

// HeaderValues are those of Headers by their names; nil: none.
func (t Tracing) HeaderValues() map[string]string {
	if t.Headers.Reveal() == "" {
		return nil
	}
	values := make(map[string]string)
	for pair := range strings.SplitSeq(t.Headers.Reveal(), ",") {
		if name, value, err := header(pair); err == nil { // as it is when the configuration has been checked
			values[name] = value
		}
	}
	return values
}
