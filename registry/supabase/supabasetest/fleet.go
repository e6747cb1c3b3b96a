package supabasetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waylume/waylume/registry"
)

// DefaultAudience is the audience of a fleet that has no other name.
const DefaultAudience = "waylume-fleet"

// Config is what a fleet is made of.
type Config struct {
	// Registry is whose answers are given. Required.
	Registry registry.Registry
	// Prefix is the path of the base URL: "/functions/v1". Empty: none.
	Prefix string
	// Audience is the fleet's. Empty: DefaultAudience.
	Audience string
	// URLs are those that an enrollment is answered with.
	URLs []string
	// ControlKeys are those that an enrollment and a registration are answered with, a JWK Set. Empty: a set of none.
	ControlKeys json.RawMessage
	// Now is the fleet's clock. Nil: time.Now.
	Now func() time.Time
}

// Token is what an enrollment token is good for.
type Token struct {
	// Name, Pool and Region, unless empty, are those that the node must have.
	Name, Pool, Region string
	// Lifetime is how long it is good; 0: an hour.
	Lifetime time.Duration
}

// Fleet answers the requests of nodes. Use New. Its methods may be called from any goroutine.
type Fleet struct {
	cfg Config

	mu          sync.Mutex
	controlKeys json.RawMessage
	tokens      map[[sha256.Size]byte]*token
	credentials map[string]*credential
	used        map[string]time.Time // credential and jti, and when it may be forgotten
}

type token struct {
	Token
	expires time.Time
	revoked bool
	key     string // that it was used for
	answer  enrolled
}

type credential struct {
	id      string
	public  ed25519.PublicKey
	server  registry.ID
	name    string
	expires time.Time // zero: never
	revoked bool
	next    *credential // what was made to take its place
	former  *credential // whose place it takes once it is used
}

// New returns a fleet without nodes.
func New(cfg Config) *Fleet {
	if cfg.Audience == "" {
		cfg.Audience = DefaultAudience
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.ControlKeys) == 0 {
		cfg.ControlKeys = json.RawMessage(`{"keys":[]}`)
	}
	return &Fleet{
		cfg: cfg, controlKeys: cfg.ControlKeys, tokens: make(map[[sha256.Size]byte]*token),
		credentials: make(map[string]*credential), used: make(map[string]time.Time),
	}
}

// NewToken makes an enrollment token.
func (f *Fleet) NewToken(t Token) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	text := base64.RawURLEncoding.EncodeToString(b)
	lifetime := t.Lifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[sha256.Sum256([]byte(text))] = &token{Token: t, expires: f.cfg.Now().Add(lifetime)}
	return text
}

// RevokeToken has a token be good for nothing.
func (f *Fleet) RevokeToken(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.tokens[sha256.Sum256([]byte(text))]; t != nil {
		t.revoked = true
	}
}

// RevokeCredential has a credential be good for nothing.
func (f *Fleet) RevokeCredential(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.credentials[id]; c != nil {
		c.revoked = true
	}
}

// Credentials are the ids of those that count, in no order.
func (f *Fleet) Credentials() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id, c := range f.credentials {
		if c.good(f.cfg.Now()) {
			ids = append(ids, id)
		}
	}
	return ids
}

// SetControlKeys has registrations and heartbeats be answered with other control keys.
func (f *Fleet) SetControlKeys(jwks json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.controlKeys = jwks
}

func (f *Fleet) keys() json.RawMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.controlKeys
}

func (c *credential) good(now time.Time) bool {
	return !c.revoked && (c.expires.IsZero() || now.Before(c.expires))
}

func newID() string { return uuid.NewString() }

// ServeHTTP implements [http.Handler].
func (f *Fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", f.cfg.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Cache-Control", "no-store")
	answer, refused := f.answer(r)
	if refused != nil {
		refused.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // who asked is gone, then
}

func (f *Fleet) answer(r *http.Request) (any, *problem) {
	path, ok := strings.CutPrefix(r.URL.Path, f.cfg.Prefix)
	if !ok || r.URL.RawQuery != "" {
		return nil, invalid(http.StatusNotFound, "no such path")
	}
	if r.Method != http.MethodPost {
		return nil, invalid(http.StatusMethodNotAllowed, "POST, and nothing else")
	}
	if r.Header.Get("Content-Type") != "application/json" {
		return nil, invalid(http.StatusBadRequest, "the content is not application/json")
	}
	body, refused := readBody(r)
	if refused != nil {
		return nil, refused
	}
	if path == "/node-enroll" {
		return f.enroll(r.Context(), body)
	}
	c, refused := f.recognise(r, path, body)
	if refused != nil {
		return nil, refused
	}
	switch path {
	case "/node-enroll/rotate":
		return f.rotate(c, body)
	case "/node-heartbeat/register":
		return f.register(r.Context(), c, body)
	case "/node-heartbeat":
		return f.heartbeat(r.Context(), c, body)
	case "/node-heartbeat/drain":
		return f.drain(r.Context(), c, body)
	case "/node-heartbeat/deregister":
		return f.deregister(r.Context(), c, body)
	case "/usage-report":
		return f.reportUsage(r.Context(), c, body)
	}
	return nil, invalid(http.StatusNotFound, "no such path")
}
