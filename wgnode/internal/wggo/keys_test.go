package wggo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

var none wgtypes.Key

// While there are two keys, who is connected stays so, and others connect with either key, or go from one to the other. Then the
// former key is of no use, and sessions of the other one go on.
func TestOverlap(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, a, none)
	connected, late, early, mover := newPhone(t), newPhone(t), newPhone(t), newPhone(t)
	all := []*phone{connected, late, early, mover}
	require.NoError(t, n.Set(t.Context(), nil, peers(all...)))
	for _, p := range []*phone{connected, mover} {
		p.connect(a.PublicKey(), n.port)
		p.talks()
	}
	before := connected.shaken()

	n.setKeys(b, a, all...)
	n.setKeys(b, a, all...)
	has, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, [2]wgtypes.Key{b, a}, [2]wgtypes.Key{has.PrivateKey, has.FormerKey})
	require.Equal(t, n.port, has.ListenPort)
	require.Len(t, has.Peers, len(all))
	connected.talks()
	require.Equal(t, before, connected.shaken(), "it had to shake hands anew")
	late.connect(a.PublicKey(), n.port)
	early.connect(b.PublicKey(), n.port)
	late.talks()
	early.talks()
	require.True(t, n.of(connected).FormerKey)
	require.True(t, n.of(late).FormerKey)
	require.False(t, n.of(early).FormerKey)
	for _, key := range []wgtypes.Key{b, a, b, a, b} {
		earlier := n.of(mover)
		mover.connect(key.PublicKey(), n.port)
		mover.talks()
		now := n.of(mover)
		require.Equal(t, key == a, now.FormerKey)
		require.True(t, now.LastHandshake.After(earlier.LastHandshake))
		require.Greater(t, now.ReceivedBytes, earlier.ReceivedBytes)
		require.Greater(t, now.SentBytes, earlier.SentBytes)
		require.NotEqual(t, earlier.Endpoint, now.Endpoint)
	}
	shaken, counted := early.shaken(), n.of(connected)

	n.setKeys(b, none, all...)
	early.talks()
	mover.talks()
	require.Equal(t, shaken, early.shaken(), "it had to shake hands anew")
	for _, p := range []*phone{connected, late} {
		heard := p.count.Load()
		require.False(t, p.says(moment), "the former key is of use")
		require.Equal(t, heard, p.count.Load())
	}
	now := n.of(connected)
	require.True(t, now.LastHandshake.IsZero())
	require.Equal(t, [2]uint64{counted.ReceivedBytes, counted.SentBytes}, [2]uint64{now.ReceivedBytes, now.SentBytes})
	has, err = n.Status()
	require.NoError(t, err)
	require.Equal(t, [2]wgtypes.Key{b, none}, [2]wgtypes.Key{has.PrivateKey, has.FormerKey})
	connected.connect(b.PublicKey(), n.port)
	connected.talks()
	require.Greater(t, n.of(connected).ReceivedBytes, counted.ReceivedBytes)
}

// A beginning that is undone has disturbed nobody, and another one begins just as well.
func TestUndo(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, a, none)
	stays, other := newPhone(t), newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(stays, other)))
	stays.connect(a.PublicKey(), n.port)
	stays.talks()
	before := stays.shaken()
	for range 3 {
		n.setKeys(b, a, stays, other)
		other.connect(b.PublicKey(), n.port)
		other.talks()
		stays.talks()
		received := n.of(other).ReceivedBytes
		n.setKeys(a, none, stays, other)
		require.False(t, other.says(moment), "a key that was taken back is of use")
		require.Equal(t, received, n.of(other).ReceivedBytes)
		stays.talks()
	}
	require.Equal(t, before, stays.shaken())
}

// One overlap after the other, also one that begins while another lasts: a session lasts as long as its key.
func TestChain(t *testing.T) {
	a, b, c, d := newKey(t), newKey(t), newKey(t), newKey(t)
	n := newNode(t, b, a) // as after a restart
	p, q := newPhone(t), newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p, q)))
	p.connect(b.PublicKey(), n.port)
	q.connect(a.PublicKey(), n.port)
	p.talks()
	q.talks()
	before := p.shaken()
	n.setKeys(b, none, p, q)
	p.talks()
	n.setKeys(c, b, p, q)
	p.talks()
	q.connect(c.PublicKey(), n.port)
	q.talks()
	require.Equal(t, before, p.shaken())
	shaken := q.shaken()
	n.setKeys(d, c, p, q) // the key of p goes, though no end was asked for
	require.False(t, p.says(moment))
	q.talks()
	p.connect(d.PublicKey(), n.port)
	p.talks()
	n.setKeys(c, d, p, q)
	require.False(t, n.of(q).FormerKey)
	require.True(t, n.of(p).FormerKey)
	n.setKeys(a, none, p, q)
	require.False(t, p.says(moment))
	require.False(t, q.says(moment))
	p.connect(a.PublicKey(), n.port)
	p.talks()
	require.True(t, q.shaken().Equal(shaken))
}

// Peers come, change and go while there are two keys.
func TestPeersDuringOverlap(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, b, a)
	p, q := newPhone(t), newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p)))
	p.connect(a.PublicKey(), n.port)
	p.talks()
	require.NoError(t, n.Set(t.Context(), []wgtypes.Key{p.key.PublicKey()}, peers(q)))
	require.False(t, p.says(moment))
	p.off()
	q.addr = p.addr // which q takes over
	require.NoError(t, n.Set(t.Context(), nil, peers(q)))
	q.connect(b.PublicKey(), n.port)
	q.talks()
	require.NoError(t, n.Set(t.Context(), nil, peers(p))) // and p takes back, of which q is not told
	p.connect(a.PublicKey(), n.port)
	p.talks()
	require.False(t, q.says(moment))
	require.NoError(t, n.Set(t.Context(), []wgtypes.Key{p.key.PublicKey(), q.key.PublicKey()}, nil))
	s, err := n.Status()
	require.NoError(t, err)
	require.Empty(t, s.Peers)
	require.Zero(t, n.reg.peers.Len())
	require.Empty(t, n.reg.hosts4)
	require.Zero(t, s.Active)
}

// A peer that comes by the other key, and then sends nothing but keepalives, is reached there; and no device tries to keep alive what
// is the other's.
func TestKeepalivesOnly(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, a, none)
	p := newPhone(t)
	told := peers(p)
	told[0].Keepalive = 25 * time.Second
	require.NoError(t, n.Set(t.Context(), nil, told))
	p.connect(a.PublicKey(), n.port)
	p.talks()
	require.NoError(t, n.SetKeys(t.Context(), b, a, told))
	keepalives := func() (both [2]time.Duration) {
		for i, l := range n.lanes() {
			s, err := l.report()
			require.NoError(t, err)
			if len(s.Peers) > 0 { // else the peer is not in it
				both[i] = s.Peers[0].Keepalive
			}
		}
		return both
	}
	require.Equal(t, [2]time.Duration{25 * time.Second, 0}, keepalives())
	require.Equal(t, 25*time.Second, n.of(p).Keepalive)
	p.connect(b.PublicKey(), n.port, "persistent_keepalive_interval=1")
	reached := func() bool {
		n.tun.put(packet(gateway, p.addr, lastNumber.Add(1)))
		select {
		case <-p.got:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	}
	require.Eventually(t, reached, patience, time.Millisecond)
	require.Eventually(t, func() bool { return keepalives() == [2]time.Duration{0, 25 * time.Second} }, patience, 50*time.Millisecond)
	require.Equal(t, 25*time.Second, n.of(p).Keepalive)
	require.NoError(t, n.SetKeys(t.Context(), a, none, told))
	require.Equal(t, 25*time.Second, n.of(p).Keepalive)
}
