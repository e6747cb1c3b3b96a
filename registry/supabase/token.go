package supabase

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waylume/waylume/registry"
)

const (
	// scope is what a node's credential may do.
	scope = "node"
	// tokenLifetime is how long a token counts.
	tokenLifetime = 30 * time.Second
	// tokenIDSize is how many random bytes tell a token from all others.
	tokenIDSize = 16
)

// claims are those of a request, in the order and the form in which wgnode/httpapi/auth/sign writes them: docs/trust.md says what
// each is. A test beside that package holds the two to each other.
type claims struct {
	Subject  registry.ID `json:"sub"`
	Audience string      `json:"aud"`
	IssuedAt int64       `json:"iat"`
	Expires  int64       `json:"exp"`
	ID       string      `json:"jti"`
	Method   string      `json:"htm"`
	Path     string      `json:"path"`
	Query    string      `json:"query"`
	Digest   string      `json:"digest"`
	Scope    string      `json:"scope"`

	jwt.Claims `json:"-"` // nil: of claims that are signed golang-jwt asks nothing
}

// identity is who signs: what a request needs of a credential file.
type identity struct {
	server   registry.ID
	audience string
	key      *credential
	// fallback: the key is the former one, after the fleet has refused the current one.
	fallback bool
}

// sign makes the token of one request.
func (id identity) sign(path string, body []byte, now time.Time) (string, error) {
	unique := make([]byte, tokenIDSize)
	if _, err := rand.Read(unique); err != nil {
		return "", fmt.Errorf("random id of a token: %w", err)
	}
	digest := sha256.Sum256(body)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		Subject: id.server, Audience: id.audience, Scope: scope,
		IssuedAt: now.Unix(), Expires: now.Add(tokenLifetime).Unix(),
		ID:     base64.RawURLEncoding.EncodeToString(unique),
		Method: http.MethodPost, Path: path,
		Digest: base64.RawURLEncoding.EncodeToString(digest[:]),
	})
	token.Header["kid"] = id.key.ID
	signed, err := token.SignedString(ed25519.NewKeyFromSeed(id.key.Seed))
	if err != nil {
		return "", fmt.Errorf("sign a request: %w", err)
	}
	return signed, nil
}
