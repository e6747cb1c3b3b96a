package wggo

import (
	"crypto/cipher"
	"crypto/ecdh"
	"fmt"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tai64n"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// What a handshake initiation has, by the byte (WireGuard paper, section 5.4.2): type, sender's index, then these, then two MACs.
const (
	initiationIndex     = 4
	initiationEphemeral = 8
	initiationStatic    = initiationEphemeral + 32
	initiationTimestamp = initiationStatic + 32 + chacha20poly1305.Overhead
	initiationMACs      = initiationTimestamp + tai64n.TimestampSize + chacha20poly1305.Overhead
)

// message is a handshake initiation.
type message [device.MessageInitiationSize]byte

// identity is one of the node's keys, with what initiations for it are read by.
type identity struct {
	private *ecdh.PrivateKey
	hash    [blake2s.Size]byte   // that of the protocol with the public key
	macs    device.CookieChecker // its cookies are the gate's: the device behind has a secret of its own
}

func newIdentity(key wgtypes.Key) (*identity, error) {
	private, err := ecdh.X25519().NewPrivateKey(key[:])
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	id := &identity{private: private, hash: mixHash(&device.InitialHash, private.PublicKey().Bytes())}
	id.macs.Init(device.NoisePublicKey(private.PublicKey().Bytes()))
	return id, nil
}

// claim is an initiation whose sender's name could be read, which anybody can write who knows the node's public key.
type claim struct {
	key         wgtypes.Key // who it says that it is from
	chain, hash [blake2s.Size]byte
	timestamp   [tai64n.TimestampSize + chacha20poly1305.Overhead]byte // sealed
}

// read opens the sender's static key in an initiation: one operation on the curve.
func (id *identity) read(m *message) (claim, bool) {
	c := claim{timestamp: [tai64n.TimestampSize + chacha20poly1305.Overhead]byte(m[initiationTimestamp:initiationMACs])}
	ephemeral, static := m[initiationEphemeral:initiationStatic], m[initiationStatic:initiationTimestamp]
	shared, ok := id.shared(ephemeral)
	if !ok {
		return claim{}, false
	}
	c.hash = mixHash(&id.hash, ephemeral)
	device.KDF1(&c.chain, device.InitialChainKey[:], ephemeral)
	if _, err := c.next(shared).Open(c.key[:0], device.ZeroNonce[:], static, c.hash[:]); err != nil {
		return claim{}, false
	}
	c.hash = mixHash(&c.hash, static)
	return c, true
}

// prove opens the timestamp with what the node's key and the sender's share, which nobody else has: only then is the initiation the
// sender's. It may be one of before, which the timestamp tells.
func (c *claim) prove(shared [32]byte) (t tai64n.Timestamp, ok bool) {
	_, err := c.next(shared).Open(t[:0], device.ZeroNonce[:], c.timestamp[:], c.hash[:])
	return t, err == nil
}

// next is the cipher for what comes after a secret was mixed in.
func (c *claim) next(shared [32]byte) cipher.AEAD {
	var key [chacha20poly1305.KeySize]byte
	device.KDF2(&c.chain, &key, c.chain[:], shared[:])
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic(err) // the key has another length than it has
	}
	return aead
}

// shared is what the node's key and a public key share; not ok for the few public keys that share nothing with any.
func (id *identity) shared(public []byte) (secret [32]byte, ok bool) {
	key, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return secret, false
	}
	b, err := id.private.ECDH(key)
	if err != nil {
		return secret, false
	}
	return [32]byte(b), true
}

func mixHash(hash *[blake2s.Size]byte, data []byte) [blake2s.Size]byte {
	var both [blake2s.Size + 64]byte
	n := copy(both[:], hash[:])
	n += copy(both[n:], data)
	return blake2s.Sum256(both[:n])
}
