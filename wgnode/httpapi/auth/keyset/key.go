package keyset

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// Algorithms of signatures (RFC 7518, section 3.1, and RFC 8037, section 3.1).
const (
	HS256 = "HS256"
	EdDSA = "EdDSA"
	ES256 = "ES256"
)

var (
	// ErrKey says that a key cannot be used.
	ErrKey = errors.New("the key cannot be used")
	// ErrSignature says that a signature is not of the key.
	ErrSignature = errors.New("the signature is not of the key")
)

// Key checks signatures.
type Key struct {
	id     string
	method jwt.SigningMethod
	key    any // what method takes: []byte, ed25519.PublicKey or *ecdsa.PublicKey
	same   [sha256.Size]byte
}

// HMAC returns a key of HS256. Its secret has at least 32 bytes, and is none that is public.
func HMAC(id string, secret []byte) (Key, error) {
	if len(secret) < sign.MinSecret {
		return Key{}, fmt.Errorf("%w: the secret has %d bytes: take %d random ones or more", ErrKey, len(secret), sign.MinSecret)
	}
	return newKey(id, jwt.SigningMethodHS256, slices.Clone(secret), secret)
}

// Public returns a key of EdDSA, if it is an ed25519.PublicKey, or of ES256, if it is an *ecdsa.PublicKey of P-256.
func Public(id string, public any) (Key, error) {
	var method jwt.SigningMethod
	switch k := public.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("%w: an Ed25519 public key has %d bytes, not %d", ErrKey, ed25519.PublicKeySize, len(k))
		}
		method = jwt.SigningMethodEdDSA
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("%w: of ECDSA's curves only P-256 (ES256) is taken", ErrKey)
		}
		if _, err := k.ECDH(); err != nil {
			return Key{}, fmt.Errorf("%w: it is no point of the curve P-256", ErrKey)
		}
		method = jwt.SigningMethodES256
	default:
		return Key{}, fmt.Errorf("%w: a %T is neither an Ed25519 nor a P-256 public key", ErrKey, public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return newKey(id, method, public, der)
}

func newKey(id string, method jwt.SigningMethod, key any, material []byte) (Key, error) {
	if err := sign.CheckKeyID(id); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return Key{id: id, method: method, key: key, same: sha256.Sum256(material)}, nil
}

// ID is the key's id, the kid of the tokens that it checks.
func (k Key) ID() string { return k.id }

// Algorithm is the key's: HS256, EdDSA or ES256.
func (k Key) Algorithm() string { return k.method.Alg() }

// Same reports whether two keys are one under two ids.
func (k Key) Same(other Key) bool { return k.same == other.same }

// Verify returns an error that matches [ErrSignature] unless a signature is the key's of a text.
func (k Key) Verify(text string, signature []byte) error {
	if err := k.method.Verify(text, signature, k.key); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

// Check returns an error that matches [ErrKey] if two keys have the same id, or are the same: whoever holds the one could sign
// for the other.
func Check(keys []Key) error {
	ids := make(map[string]bool, len(keys))
	same := make(map[[sha256.Size]byte]string, len(keys))
	for _, k := range keys {
		if ids[k.id] {
			return fmt.Errorf("%w: two have the id %q: give each its own", ErrKey, k.id)
		}
		if other, ok := same[k.same]; ok {
			return fmt.Errorf("%w: %q and %q are the same key: whoever signs for one could sign for the other; make two", ErrKey,
				other, k.id)
		}
		ids[k.id], same[k.same] = true, k.id
	}
	return nil
}
