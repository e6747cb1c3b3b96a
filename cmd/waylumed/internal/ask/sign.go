package ask

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// Signer are the words of a command line about a key that signs requests; docs/trust.md says how.
type Signer struct {
	// KeyFile holds a secret of HS256 as text, as 'waylumed init' makes one, or a private key of Ed25519 or P-256 in PEM.
	KeyFile string
	// KeyID is the name by which the node knows the key, Audience the name of the node.
	KeyID, Audience string
}

// subject is who asks, for the node's log of changes, beside the name of the key.
const subject = "waylumed"

// authorize is nil when there is no key.
func (s Signer) authorize() (func(*http.Request, []byte) error, error) {
	if s.KeyFile == "" {
		if s.KeyID != "" || s.Audience != "" {
			return nil, errors.New("--kid and --audience are about a key that signs: give that with --sign-key")
		}
		return nil, nil
	}
	if s.KeyID == "" || s.Audience == "" {
		return nil, errors.New("--sign-key: say by which name the node knows the key, with --kid, and what the node is called, with --audience")
	}
	key, err := s.key()
	if err != nil {
		return nil, fmt.Errorf("--sign-key: %s: %w", s.KeyFile, err)
	}
	claims := sign.Claims{Subject: subject, Audience: s.Audience, Scopes: []string{"peers:read", "peers:write", "node:admin"}}
	return func(r *http.Request, _ []byte) error { return sign.Request(r, key, claims) }, nil
}

func (s Signer) key() (sign.Key, error) {
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return sign.Key{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return sign.HMAC(s.KeyID, bytes.TrimSpace(text))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	}
	if err != nil {
		return sign.Key{}, fmt.Errorf("it is PEM (%s) and no private key: give one as 'openssl genpkey -algorithm ed25519' makes it", block.Type)
	}
	switch private := parsed.(type) {
	case ed25519.PrivateKey:
		return sign.Ed25519(s.KeyID, private)
	case *ecdsa.PrivateKey:
		return sign.ECDSA(s.KeyID, private)
	}
	return sign.Key{}, fmt.Errorf("it is a %T: give one of Ed25519 or P-256", parsed)
}
