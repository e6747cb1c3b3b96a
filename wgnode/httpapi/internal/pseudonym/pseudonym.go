// Package pseudonym names peers where others than their operator may look: in metrics and in traces.
package pseudonym

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Mode is how a peer is named.
type Mode string

// The modes.
const (
	Off     Mode = "off"     // by its public key
	Partial Mode = "partial" // by a hash
	Strict  Mode = "strict"  // by a hash
)

// Check refuses a mode that there is not. Empty is Strict.
func (m Mode) Check() error {
	switch m {
	case Off, Partial, Strict, "":
		return nil
	}
	return fmt.Errorf("redaction %q is not known: use %q, %q or %q", string(m), Off, Partial, Strict)
}

// Peer names a peer: by its public key in base64, or by the first 64 bits of that key's SHA-256 in hexadecimal. Whoever has the key can
// find the name; nobody finds the key by the name.
func (m Mode) Peer(key wgtypes.Key) string {
	if m == Off {
		return key.String()
	}
	sum := sha256.Sum256(key[:])
	return hex.EncodeToString(sum[:8])
}

// Account names an account: by its ID, or not at all, as IDs can be guessed.
func (m Mode) Account(id string) string {
	if m == Off {
		return id
	}
	return ""
}
