package wgnode

import (
	"crypto/ecdh"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

// Curve arithmetic says the same of each key: of the points of low order, of what is near them, and of any other.
func TestLowOrder(t *testing.T) {
	private, err := ecdh.X25519().NewPrivateKey([]byte("any private key does for a test!"))
	require.NoError(t, err)
	noSecret := func(key wgtypes.Key) bool {
		public, err := ecdh.X25519().NewPublicKey(key[:])
		require.NoError(t, err)
		_, err = private.ECDH(public)
		return err != nil
	}
	for _, point := range lowOrderPoints {
		for _, high := range []byte{0, 0x80} {
			key := point
			key[31] |= high
			require.True(t, lowOrder(key), "%x", key)
			require.True(t, noSecret(key), "%x", key)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom(lowOrderPoints[:]).Draw(t, "near")
		if rapid.Bool().Draw(t, "far") {
			copy(key[:], rapid.SliceOfN(rapid.Byte(), len(key), len(key)).Draw(t, "key"))
		}
		key[rapid.IntRange(0, 31).Draw(t, "at")] ^= rapid.Byte().Draw(t, "bits")
		require.Equal(t, noSecret(key), lowOrder(key), "%x", key)
	})
	// All small numbers, and all that are p or more.
	for low := range 256 {
		for _, key := range []wgtypes.Key{{byte(low)}, lowOrderPoints[4]} {
			if key[31] != 0 {
				key[0] = byte(low)
			}
			require.Equal(t, noSecret(key), lowOrder(key), "%x", key)
		}
	}
}
