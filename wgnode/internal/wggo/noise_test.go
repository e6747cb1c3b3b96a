package wggo

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tai64n"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// forged is an initiation that says it is from somebody whose private key the writer does not have.
func forged(t testing.TB, server, from wgtypes.Key) message {
	t.Helper()
	return written(t, server, from, [32]byte(newKey(t)), tai64n.Now())
}

// written is an initiation from a peer, as the secret that it shares with the server proves.
func written(t testing.TB, server, from wgtypes.Key, secret [32]byte, stamp tai64n.Timestamp) (m message) {
	t.Helper()
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	public, err := ecdh.X25519().NewPublicKey(server[:])
	require.NoError(t, err)
	shared, err := ephemeral.ECDH(public)
	require.NoError(t, err)
	m[0] = device.MessageInitiationType
	copy(m[initiationEphemeral:], ephemeral.PublicKey().Bytes())
	c := claim{hash: mixHash(&device.InitialHash, server[:])}
	c.hash = mixHash(&c.hash, ephemeral.PublicKey().Bytes())
	device.KDF1(&c.chain, device.InitialChainKey[:], ephemeral.PublicKey().Bytes())
	sealed := c.next([32]byte(shared)).Seal(nil, device.ZeroNonce[:], from[:], c.hash[:])
	copy(m[initiationStatic:], sealed)
	c.hash = mixHash(&c.hash, sealed)
	copy(m[initiationTimestamp:], c.next(secret).Seal(nil, device.ZeroNonce[:], stamp[:], c.hash[:]))
	var macs device.CookieGenerator
	macs.Init(device.NoisePublicKey(server))
	macs.AddMacs(m[:])
	return m
}

// What stock wireguard-go writes is read, and proven by the secret of those two alone; nothing that is changed on the way passes.
func TestReadInitiation(t *testing.T) {
	key, own := newKey(t), newKey(t)
	id, err := newIdentity(key)
	require.NoError(t, err)
	k := newKnocker(t, own, key.PublicKey())
	m := k.next(t)
	require.True(t, id.macs.CheckMAC1(m[:]))
	secret := func(public wgtypes.Key) [32]byte {
		shared, ok := id.shared(public[:])
		require.True(t, ok)
		return shared
	}
	c, ok := id.read(&m)
	require.True(t, ok)
	require.Equal(t, own.PublicKey(), c.key)
	wrong := c
	_, ok = wrong.prove(secret(newKey(t).PublicKey()))
	require.False(t, ok)
	stamp, ok := c.prove(secret(own.PublicKey()))
	require.True(t, ok)
	later := k.next(t)
	c, ok = id.read(&later)
	require.True(t, ok)
	next, ok := c.prove(secret(own.PublicKey()))
	require.True(t, ok)
	require.True(t, next.After(stamp))

	for i := initiationEphemeral; i < initiationMACs; i++ {
		bad := m
		bad[i] ^= 1
		c, ok := id.read(&bad)
		if ok {
			require.GreaterOrEqual(t, i, initiationTimestamp)
			_, ok = c.prove(secret(own.PublicKey()))
		}
		require.False(t, ok, "byte %d", i)
	}
	for _, weak := range [][]byte{make([]byte, 32), append([]byte{1}, make([]byte, 31)...)} { // points of low order
		_, ok := id.shared(weak)
		require.False(t, ok)
		bad := m
		copy(bad[initiationEphemeral:], weak)
		_, ok = id.read(&bad)
		require.False(t, ok)
	}
	forgery := forged(t, key.PublicKey(), own.PublicKey())
	c, ok = id.read(&forgery)
	require.True(t, ok)
	require.Equal(t, own.PublicKey(), c.key)
	_, ok = c.prove(secret(own.PublicKey()))
	require.False(t, ok)
}

// Whoever only knows a peer's public key brings it in no more than a stranger, and nothing is remembered of that.
func TestForgery(t *testing.T) {
	key, own := newKey(t), newKey(t)
	n := newNode(t, key, none)
	require.NoError(t, n.Set(t.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
	w := newWire(t, n.port)
	require.Zero(t, w.answer(forged(t, key.PublicKey(), own.PublicKey()), moment/4))
	require.Zero(t, w.answer(forged(t, key.PublicKey(), newKey(t).PublicKey()), moment/4))
	require.Zero(t, n.active())
	n.reg.mu.RLock()
	require.Nil(t, n.reg.get(own.PublicKey()).was)
	n.reg.mu.RUnlock()
	k := newKnocker(t, own, key.PublicKey())
	require.EqualValues(t, device.MessageResponseType, w.answer(k.next(t), patience))
}
