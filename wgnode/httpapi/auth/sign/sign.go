package sign

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MaxLifetime is the longest that a token may be good for.
	MaxLifetime = 60 * time.Second
	// DefaultLifetime is how long a token is good for if nothing else is said: time enough for a slow body, and little to replay in.
	DefaultLifetime = 30 * time.Second
	// MaxBody is the greatest body that is signed, in bytes: it is held in memory.
	MaxBody = 16 << 20
)

// ErrRequest says that a request cannot be signed as it is.
var ErrRequest = errors.New("the request cannot be signed")

// Claims says for whom, to whom and for what requests are signed.
type Claims struct {
	// Subject is who asks: what the node's audit log names. 1 to 128 bytes.
	Subject string
	// Audience is the name of the node that is asked.
	Audience string
	// Scopes are what the request needs, of what the key may do: "peers:read", "peers:write", "node:admin". At least one.
	Scopes []string
	// Lifetime is how long the token is good for, in whole seconds up to MaxLifetime. 0: DefaultLifetime.
	Lifetime time.Duration
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Payload is what a token says: its claims, all of which it has, each once, and no other. docs/trust.md explains them.
type Payload struct {
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"` // seconds since 1970
	Expires  int64  `json:"exp"` // seconds since 1970
	ID       string `json:"jti"`
	Method   string `json:"htm"`
	Path     string `json:"path"`
	Query    string `json:"query"`
	Digest   string `json:"digest"`
	Scope    string `json:"scope"` // separated by spaces (RFC 8693, section 4.2)
}

// Request signs a request: it reads the body, which it replaces, and sets the header Authorization. The request must not change
// afterwards, and can be sent once. The error matches [ErrRequest], [ErrQuery] or [ErrKey], or is the body's.
func Request(req *http.Request, key Key, claims Claims) error {
	if key.method == nil {
		return fmt.Errorf("%w: there is none: make one with HMAC, Ed25519 or ECDSA", ErrKey)
	}
	payload, err := claims.payload()
	if err != nil {
		return err
	}
	query, err := Query(req.URL.RawQuery)
	if err != nil {
		return err
	}
	body, err := takeBody(req)
	if err != nil {
		return err
	}
	if payload.Method = req.Method; payload.Method == "" {
		payload.Method = http.MethodGet
	}
	if payload.Path = req.URL.EscapedPath(); payload.Path == "" {
		payload.Path = "/" // what is sent then
	}
	payload.Query = query
	payload.Digest = Digest(body)
	token, err := Token(key, payload)
	if err != nil {
		return err
	}
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// Token signs a payload as it is.
func Token(key Key, payload Payload) (string, error) {
	if key.method == nil {
		return "", fmt.Errorf("%w: there is none: make one with HMAC, Ed25519 or ECDSA", ErrKey)
	}
	token := jwt.NewWithClaims(key.method, wire{Payload: payload})
	token.Header["kid"] = key.id
	signed, err := token.SignedString(key.key)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	return signed, nil
}

// payload returns what claims say of any request.
func (c Claims) payload() (Payload, error) {
	lifetime := c.Lifetime
	if lifetime == 0 {
		lifetime = DefaultLifetime
	}
	if lifetime < time.Second || lifetime > MaxLifetime {
		return Payload{}, fmt.Errorf("%w: a lifetime of %v: give 1s to %v", ErrRequest, c.Lifetime, MaxLifetime)
	}
	if c.Subject == "" || c.Audience == "" || len(c.Scopes) == 0 {
		return Payload{}, fmt.Errorf("%w: say who asks (Subject), which node (Audience) and what for (Scopes)", ErrRequest)
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	issued := now().Unix()
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return Payload{}, fmt.Errorf("random id of a token: %w", err)
	}
	return Payload{
		Subject: c.Subject, Audience: c.Audience, Scope: strings.Join(c.Scopes, " "),
		IssuedAt: issued, Expires: issued + int64(lifetime/time.Second),
		ID: base64.RawURLEncoding.EncodeToString(id),
	}, nil
}

// takeBody returns a request's body, and puts one in its place that can be read.
func takeBody(req *http.Request) (_ []byte, err error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, MaxBody+1))
	if err := errors.Join(err, req.Body.Close()); err != nil {
		return nil, fmt.Errorf("the body to sign: %w", err)
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w: its body has more than %d bytes: split it", ErrRequest, MaxBody)
	}
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	return body, nil
}

// wire is a payload as golang-jwt wants claims.
type wire struct {
	Payload
	jwt.Claims `json:"-"` // nil: of claims that are signed it asks nothing
}
