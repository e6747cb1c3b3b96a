package wgclient

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// What the hashes begin with (section 5.4).
const (
	construction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
	identifier   = "WireGuard v1 zx2c4 Jason@zx2c4.com"
	labelMAC1    = "mac1----"
)

// Kinds of messages, and the sizes of those that have one, in bytes (sections 5.4.2, 5.4.3, 5.4.7).
const (
	kindInitiation  = 1
	kindResponse    = 2
	kindCookieReply = 3
	kindTransport   = 4

	initiationSize  = 148
	responseSize    = 92
	cookieReplySize = 64
	macsSize        = 32 // of the two MACs at the end of the first two kinds
)

// handshake is what the initiator keeps between the first message and the second: the chaining key, the hash, and its ephemeral key.
type handshake struct {
	chain, hash [blake2s.Size]byte
	static      *ecdh.PrivateKey
	ephemeral   *ecdh.PrivateKey
	preshared   wgtypes.Key
}

// newHandshake makes the first message (section 5.4.2).
func newHandshake(private, preshared, server wgtypes.Key, index uint32, now time.Time) (*handshake, []byte, error) {
	h := &handshake{preshared: preshared}
	var err error
	if h.static, err = ecdh.X25519().NewPrivateKey(private[:]); err != nil {
		return nil, nil, fmt.Errorf("private key: %w", err)
	}
	remote, err := ecdh.X25519().NewPublicKey(server[:])
	if err != nil {
		return nil, nil, fmt.Errorf("the server's key: %w", err)
	}
	if h.ephemeral, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return nil, nil, err
	}
	h.chain = blake2s.Sum256([]byte(construction))
	h.hash = h.chain
	h.mix([]byte(identifier))
	h.mix(server[:])

	message := make([]byte, 0, initiationSize)
	message = binary.LittleEndian.AppendUint32(message, kindInitiation)
	message = binary.LittleEndian.AppendUint32(message, index)
	message = h.sayEphemeral(message)
	key, err := h.agree(h.ephemeral, remote)
	if err != nil {
		return nil, nil, err
	}
	message = h.seal(message, key, h.static.PublicKey().Bytes())
	if key, err = h.agree(h.static, remote); err != nil {
		return nil, nil, err
	}
	message = h.seal(message, key, tai64n(now))
	return h, appendMACs(message, server), nil
}

// finish takes the second message (section 5.4.3) and returns the keys to send and to receive with (section 5.4.5).
func (h *handshake) finish(message []byte) (send, receive [chacha20poly1305.KeySize]byte, err error) {
	const ephemeralAt, emptyAt = 12, 44
	ephemeral, err := ecdh.X25519().NewPublicKey(message[ephemeralAt:emptyAt])
	if err != nil {
		return send, receive, err
	}
	h.chain = kdf(h.chain[:], ephemeral.Bytes(), 1)[0]
	h.mix(ephemeral.Bytes())
	for _, own := range []*ecdh.PrivateKey{h.ephemeral, h.static} {
		if _, err := h.agree(own, ephemeral); err != nil {
			return send, receive, err
		}
	}
	derived := kdf(h.chain[:], h.preshared[:], 3)
	h.chain = derived[0]
	h.mix(derived[1][:])
	aead, err := chacha20poly1305.New(derived[2][:])
	if err != nil {
		return send, receive, err
	}
	if _, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), message[emptyAt:responseSize-macsSize], h.hash[:]); err != nil {
		return send, receive, errors.New("the answer is not authentic")
	}
	keys := kdf(h.chain[:], nil, 2)
	return keys[0], keys[1], nil
}

// sayEphemeral appends the ephemeral public key.
func (h *handshake) sayEphemeral(message []byte) []byte {
	public := h.ephemeral.PublicKey().Bytes()
	h.chain = kdf(h.chain[:], public, 1)[0]
	h.mix(public)
	return append(message, public...)
}

// agree mixes a shared secret into the chaining key and returns a key to seal with. For the second message, whose secrets are mixed
// in by KDF1, the first output is the same.
func (h *handshake) agree(own *ecdh.PrivateKey, remote *ecdh.PublicKey) ([blake2s.Size]byte, error) {
	secret, err := own.ECDH(remote)
	if err != nil {
		return [blake2s.Size]byte{}, err
	}
	derived := kdf(h.chain[:], secret, 2)
	h.chain = derived[0]
	return derived[1], nil
}

// seal appends plain encrypted, and mixes it into the hash. A key seals once, so that the nonce is 0.
func (h *handshake) seal(message []byte, key [blake2s.Size]byte, plain []byte) []byte {
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic(err) // only of a key of another size
	}
	at := len(message)
	message = aead.Seal(message, make([]byte, chacha20poly1305.NonceSize), plain, h.hash[:])
	h.mix(message[at:])
	return message
}

func (h *handshake) mix(data []byte) {
	h.hash = blake2s.Sum256(slices.Concat(h.hash[:], data))
}

// kdf is the paper's KDF with so many outputs: HKDF with HMAC-BLAKE2s (section 5.4).
func kdf(key, input []byte, outputs int) [][blake2s.Size]byte {
	secret := mac(key, input)
	all := make([][blake2s.Size]byte, outputs)
	var last []byte
	for i := range all {
		all[i] = mac(secret[:], slices.Concat(last, []byte{byte(i + 1)}))
		last = all[i][:]
	}
	return all
}

func mac(key, input []byte) (sum [blake2s.Size]byte) {
	m := hmac.New(newBLAKE2s, key)
	m.Write(input)
	m.Sum(sum[:0])
	return sum
}

func newBLAKE2s() hash.Hash {
	h, err := blake2s.New256(nil)
	if err != nil {
		panic(err) // only of a key that is too long
	}
	return h
}

// appendMACs ends a message of the handshake: the first MAC shows that who sent it knows the server's key, the second is zero as no
// cookie was received (section 5.4.4).
func appendMACs(message []byte, server wgtypes.Key) []byte {
	key := blake2s.Sum256(append([]byte(labelMAC1), server[:]...))
	m, err := blake2s.New128(key[:])
	if err != nil {
		panic(err) // only of a key that is too long
	}
	m.Write(message)
	return append(m.Sum(message), make([]byte, blake2s.Size128)...)
}

// tai64n is a time as TAI64N: seconds since 1970 in TAI, begun at 2^62 and 10 s, and nanoseconds (https://cr.yp.to/libtai/tai64.html).
func tai64n(t time.Time) []byte {
	const base = 1<<62 + 10
	stamp := binary.BigEndian.AppendUint64(nil, base+uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(stamp, uint32(t.Nanosecond()))
}
