// Package keyset reads the keys that tokens are checked with: from files, and from a URL that serves a JWK Set (RFC 7517), which
// [Remote] keeps at hand.
//
// A key has one algorithm, its own: HS256, EdDSA (Ed25519) or ES256 (P-256). What a token says of its algorithm never chooses how
// it is checked. Only a Remote starts anything, a goroutine, with Start; nothing needs a privilege.
package keyset
