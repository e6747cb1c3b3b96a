package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
)

// Trust is who may ask, and what for. Its zero value trusts nobody.
type Trust struct {
	// Audience is this node's name, which tokens are made for. It is needed if there are Keys.
	Audience string
	// Keys check request-bound tokens. During a rotation the old and the new are here, the old with a NotAfter.
	Keys []KeySource
	// Bearers are plain tokens, which count through the loopback and unix sockets only.
	Bearers []Bearer
	// Users are who may connect to a unix socket (Linux; see [ConnContext]).
	Users []User
	// Certificates say whom the client certificate of a TLS connection stands for. The first that fits counts.
	Certificates []Certificate
}

// KeyType says what a KeySource is.
type KeyType string

// Types of sources of keys.
const (
	HMAC    KeyType = "hmac"     // a secret of at least 32 bytes, in a file or at hand: one key, of HS256
	PEM     KeyType = "pem"      // a file with one public key: EdDSA or ES256
	JWKS    KeyType = "jwks"     // a file with a JWK Set; the keys have their ids from it
	JWKSURL KeyType = "jwks-url" // a URL of a JWK Set of public keys
)

// KeySource is where keys come from.
type KeySource struct {
	Type KeyType
	// ID is the kid of the one key of an HMAC or PEM source.
	ID string
	// Path is the file of an HMAC, PEM or JWKS source.
	Path string
	// Secret is an HMAC source's, instead of a file.
	Secret []byte
	// PublicKey is a PEM source's, in PEM, instead of a file.
	PublicKey []byte
	// URL is a JWKSURL source's: https, or http on the loopback.
	URL string
	// Refresh, Retry and MaxStale are a JWKSURL source's; see [keyset.RemoteConfig]. 0: 10 min, 30 s and 24 h.
	Refresh, Retry, MaxStale time.Duration
	// Scopes are what tokens of these keys may ask for. At least one.
	Scopes []Scope
	// NotAfter ends the keys. Zero: they do not end.
	NotAfter time.Time
}

// Bearer is a plain token. Its Secret has at least 32 bytes, each a visible ASCII character but '.'.
type Bearer struct {
	Name   string
	Secret []byte
	Scopes []Scope
}

// User is a user of this host.
type User struct {
	UID    uint32
	Scopes []Scope
}

// Certificate maps client certificates to a principal, by one of their names: one of the first four is given, and is compared
// as a whole, in any case of letters for DNS; or Any.
type Certificate struct {
	CommonName, DNS, URI, Email string
	// Any is whoever a CA of clients has signed for.
	Any bool
	// Name is the principal's. Empty: the name that fits, or with Any the first that the certificate has.
	Name   string
	Scopes []Scope
}

// Config is how an Authenticator works. Zero values are the defaults.
type Config struct {
	Trust

	// Skew is how far clocks may be apart, in whole seconds up to 30 s. 0: 5 s; negative: none.
	Skew time.Duration
	// UsedTokens is the path of the files that remember which tokens were used, when the process is gone: PATH, PATH.old and
	// PATH.new, of this process alone. They outlive it however it ends; after a crash of the system they say nothing, and tokens
	// from before the start, and of Skew after it, are refused. Empty: there are none, and so it is at every start.
	UsedTokens string
	// MaxUsedTokens is how many tokens are remembered at a time, each until it expires: more are refused, with 503. 0: 65,536.
	MaxUsedTokens int
	// MaxBody is the greatest body of a request, in bytes: more is refused, with 413. 0: 1 MiB.
	MaxBody int64
	// ClientCAs returns what client certificates must lead to, at each request: one of a CA that has been taken away since the
	// connection was made counts no more. nil: they were checked when it was made, and that is enough.
	ClientCAs func() *x509.CertPool
	// KeysTransport fetches JWK Sets. nil: one that uses no proxy, and the system's roots.
	KeysTransport http.RoundTripper
	// Sources finds where requests come from. nil: no proxy is trusted.
	Sources *source.Resolver
	// Failures says what becomes of those who fail to show who they are.
	Failures Failures
	// OnIntrusion is told of a source that has failed Failures.Threshold times, and again at twice, four times as many. It must not
	// block, and may be called concurrently.
	OnIntrusion func(Intrusion)
	// OnRefusal is told why a request was refused, of each. It must not block.
	OnRefusal func(Reason)
	// Logger is told of refusals, of at most 10 in a second, and never of a token. nil: nobody is.
	Logger *slog.Logger
	// Now is the clock that tokens are held to. nil: time.Now.
	Now func() time.Time
}

// Failures bounds what those may do who fail to show who they are. Only answers to requests that fail are held back: what a
// source signs well is answered at once, whoever shares its address. Zero values are the defaults.
type Failures struct {
	// Threshold is how many failures of a source are answered at once. 0: 10.
	Threshold int
	// Quiet is how long a source must not fail for its failures to be forgotten. 0: 10 min.
	Quiet time.Duration
	// FirstDelay is how long the next answer waits; each one after it waits twice as long, up to LongestDelay. 0: 250 ms and 10 s.
	FirstDelay, LongestDelay time.Duration
	// MaxWaiting is how many answers wait at a time, and MaxWaitingPerSource how many of one source's: others are given at once,
	// with 429. 0: 64 and 4.
	MaxWaiting, MaxWaitingPerSource int
	// MaxSources is how many sources are remembered. 0: 4,096.
	MaxSources int
}

// Intrusion is a source that fails again and again.
type Intrusion struct {
	Source   source.Source
	Failures int // since Since
	Since    time.Time
	Reason   Reason // of the last failure
}

const (
	defaultSkew    = 5 * time.Second
	maxSkew        = 30 * time.Second
	minBearer      = 32
	maxPrincipal   = 128 // bytes of a name
	defaultMaxBody = 1 << 20
)

// complete checks what is not Trust, and gives what is left out.
func (c *Config) complete() error {
	if c.Skew == 0 {
		c.Skew = defaultSkew
	}
	c.Skew = max(c.Skew, 0)
	var errs []error
	if c.Skew > maxSkew || c.Skew%time.Second != 0 {
		errs = append(errs, fmt.Errorf("Skew is %v: give whole seconds up to %v", c.Skew, maxSkew))
	}
	orDefault(&errs, "MaxUsedTokens", &c.MaxUsedTokens, 1<<16)
	orDefault(&errs, "MaxBody", &c.MaxBody, defaultMaxBody)
	f := &c.Failures
	orDefault(&errs, "Failures.Threshold", &f.Threshold, 10)
	orDefault(&errs, "Failures.Quiet", &f.Quiet, 10*time.Minute)
	orDefault(&errs, "Failures.FirstDelay", &f.FirstDelay, 250*time.Millisecond)
	orDefault(&errs, "Failures.LongestDelay", &f.LongestDelay, max(10*time.Second, f.FirstDelay))
	orDefault(&errs, "Failures.MaxWaiting", &f.MaxWaiting, 64)
	orDefault(&errs, "Failures.MaxWaitingPerSource", &f.MaxWaitingPerSource, 4)
	orDefault(&errs, "Failures.MaxSources", &f.MaxSources, 4096)
	if f.LongestDelay > time.Minute {
		errs = append(errs, fmt.Errorf("Failures.LongestDelay is %v: give 1m or less, for connections time out", f.LongestDelay))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return errors.Join(errs...)
}

func orDefault[T int | int64 | time.Duration](errs *[]error, name string, value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
	if *value < 0 {
		*errs = append(*errs, fmt.Errorf("%s is %v: give more than 0, or 0 for the default", name, *value))
	}
}

// checkScopes names what is wrong with scopes that somebody is given.
func checkScopes(scopes []Scope) error {
	if len(scopes) == 0 {
		return fmt.Errorf("no scopes: give some of %s, %s, %s", PeersRead, PeersWrite, NodeAdmin)
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return fmt.Errorf("scope %q: there are %s, %s, %s", s, PeersRead, PeersWrite, NodeAdmin)
		}
	}
	return nil
}
