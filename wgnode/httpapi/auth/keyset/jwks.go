package keyset

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

// maxKeys is the most keys that a set may have.
const maxKeys = 64

// ParseJWKS reads a JWK Set (RFC 7517). Keys of other kinds than are taken, and keys for anything but signatures, are left out,
// and ignored says how many; what is wrong with a key that would be taken is an error. Secrets ("oct") are taken only if
// secrets are allowed, and private keys never.
func ParseJWKS(data []byte, secrets bool) (keys []Key, ignored int, err error) {
	var set struct {
		Keys *[]jwkset.JWKMarshal `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, 0, fmt.Errorf("%w: it is no JWK Set: %w", ErrKey, err)
	}
	if set.Keys == nil {
		return nil, 0, fmt.Errorf(`%w: it is no JWK Set: it has no member "keys"`, ErrKey)
	}
	if len(*set.Keys) > maxKeys {
		return nil, 0, fmt.Errorf("%w: the set has %d keys: at most %d are taken", ErrKey, len(*set.Keys), maxKeys)
	}
	for i, m := range *set.Keys {
		if !wanted(m) {
			ignored++
			continue
		}
		k, err := fromJWK(m, secrets)
		if err != nil {
			return nil, 0, fmt.Errorf("key %d of the set (kid %q): %w", i+1, m.KID, err)
		}
		keys = append(keys, k)
	}
	if err := Check(keys); err != nil {
		return nil, 0, err
	}
	return keys, ignored, nil
}

// wanted reports whether a key is of a kind that is taken, and there to check signatures.
func wanted(m jwkset.JWKMarshal) bool {
	if m.USE != "" && m.USE != jwkset.UseSig {
		return false
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return false
	}
	switch m.KTY {
	case jwkset.KtyOct:
		return true
	case jwkset.KtyOKP:
		return m.CRV == jwkset.CrvEd25519
	case jwkset.KtyEC:
		return m.CRV == jwkset.CrvP256
	default:
		return false
	}
}

func fromJWK(m jwkset.JWKMarshal, secrets bool) (Key, error) {
	if m.D != "" {
		return Key{}, fmt.Errorf(`%w: it is a private key (it has "d"): publish the public key alone, and make a new one`, ErrKey)
	}
	symmetric := m.KTY == jwkset.KtyOct
	if symmetric && !secrets {
		return Key{}, fmt.Errorf("%w: it is a secret, and whoever can read the URL has it: publish public keys only", ErrKey)
	}
	alg := jwkset.ALG(EdDSA)
	switch m.KTY {
	case jwkset.KtyOct:
		alg = HS256
	case jwkset.KtyEC:
		alg = ES256
	}
	// RFC 9864 names the algorithm of Ed25519 anew.
	if m.ALG != "" && m.ALG != alg && (alg != EdDSA || m.ALG != "Ed25519") || symmetric && m.ALG == "" {
		return Key{}, fmt.Errorf("%w: its alg is %q: such a key is of %s", ErrKey, m.ALG, alg)
	}
	if m.KTY == jwkset.KtyEC {
		if err := errors.Join(checkCoordinate("x", m.X), checkCoordinate("y", m.Y)); err != nil {
			return Key{}, err
		}
	}
	// Only what makes the key is read: a certificate, or where one may be fetched, says nothing here.
	bare := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, K: m.K, KID: m.KID}
	jwk, err := jwkset.NewJWKFromMarshal(bare, jwkset.JWKMarshalOptions{Private: symmetric}, jwkset.JWKValidateOptions{})
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if secret, ok := jwk.Key().([]byte); ok && symmetric {
		return HMAC(m.KID, secret)
	}
	return Public(m.KID, jwk.Key())
}

// checkCoordinate holds a coordinate of P-256 to its length (RFC 7518, section 6.2.1.2): jwkset panics at one that is too long.
func checkCoordinate(name, text string) error {
	const size = 32
	if b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "=")); err != nil || len(b) != size {
		return fmt.Errorf("%w: its %s is not %d bytes in base64url, as a coordinate of P-256 is", ErrKey, name, size)
	}
	return nil
}
