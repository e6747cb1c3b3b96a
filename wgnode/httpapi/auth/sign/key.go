package sign

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// MinSecret is the least length of a secret, in bytes: that of the hash of HS256 (RFC 7518, section 3.2).
const MinSecret = 32

// MaxKeyID is the greatest length of a key's id, in bytes.
const MaxKeyID = 128

// ErrKey says that a key cannot be used.
var ErrKey = errors.New("the key cannot be used")

// Key is a key that signs, with one algorithm. The zero Key signs nothing.
type Key struct {
	id     string
	method jwt.SigningMethod
	key    any
}

// HMAC returns a key that signs with HS256. Whoever has its secret, the node included, can sign. The error matches [ErrKey].
func HMAC(id string, secret []byte) (Key, error) {
	if len(secret) < MinSecret {
		return Key{}, fmt.Errorf("%w: the secret has %d bytes: take %d random ones or more", ErrKey, len(secret), MinSecret)
	}
	return newKey(id, jwt.SigningMethodHS256, slices.Clone(secret))
}

// Ed25519 returns a key that signs with EdDSA (RFC 8037). The error matches [ErrKey].
func Ed25519(id string, private ed25519.PrivateKey) (Key, error) {
	if len(private) != ed25519.PrivateKeySize {
		return Key{}, fmt.Errorf("%w: an Ed25519 private key has %d bytes, not %d", ErrKey, ed25519.PrivateKeySize, len(private))
	}
	return newKey(id, jwt.SigningMethodEdDSA, slices.Clone(private))
}

// ECDSA returns a key that signs with ES256; its curve is P-256. The error matches [ErrKey].
func ECDSA(id string, private *ecdsa.PrivateKey) (Key, error) {
	if private == nil || private.Curve != elliptic.P256() {
		return Key{}, fmt.Errorf("%w: ES256 takes a private key of the curve P-256", ErrKey)
	}
	return newKey(id, jwt.SigningMethodES256, private)
}

func newKey(id string, method jwt.SigningMethod, key any) (Key, error) {
	if err := CheckKeyID(id); err != nil {
		return Key{}, err
	}
	return Key{id, method, key}, nil
}

// ID is the key's id, the kid of the tokens it signs.
func (k Key) ID() string { return k.id }

// CheckKeyID returns an error that matches [ErrKey] unless an id is one to 128 visible ASCII characters.
func CheckKeyID(id string) error {
	if id == "" || len(id) > MaxKeyID {
		return fmt.Errorf("%w: its id has %d bytes: give it 1 to %d", ErrKey, len(id), MaxKeyID)
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%w: its id %q may have visible ASCII characters only", ErrKey, id)
		}
	}
	return nil
}
