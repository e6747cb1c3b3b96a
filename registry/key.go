package registry

import (
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Key is a WireGuard public key that is written in base64, as wg(8) writes it; the zero key is written as nothing.
type Key wgtypes.Key

// String is the key in base64; of the zero key it is empty.
func (k Key) String() string {
	if k == (Key{}) {
		return ""
	}
	return wgtypes.Key(k).String()
}

// MarshalText writes the key as String does.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a key in base64, or nothing for the zero key.
func (k *Key) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = Key{}
		return nil
	}
	key, err := wgtypes.ParseKey(string(text))
	if err != nil {
		return fmt.Errorf("%w: a WireGuard key is 32 bytes in base64, 44 characters: %w", ErrInvalid, err)
	}
	*k = Key(key)
	return nil
}
