package wggo

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// restless is an idle time with which a peer that says nothing leaves soon, and one that just spoke is heard.
const restless = time.Second

// Registered peers are in no device until they shake hands; whoever does not is listed all the same.
func TestCold(t *testing.T) {
	key := newKey(t)
	n := newNode(t, key, none)
	p := newPhone(t)
	told := append(manyPeers(300), peers(p)...)
	told[300].PresharedKey, told[300].Keepalive = newKey(t), 25*time.Second
	require.NoError(t, n.Set(t.Context(), nil, told))
	require.Zero(t, n.active())
	p.connect(key.PublicKey(), n.port, "preshared_key="+hexKey(told[300].PresharedKey))
	p.talks()
	s, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, 1, s.Active)
	require.Len(t, s.Peers, len(told))
	of := make(map[wgtypes.Key]Peer)
	for _, has := range s.Peers {
		of[has.PublicKey] = has.Peer
	}
	for _, want := range told {
		require.Equal(t, want, of[want.PublicKey])
	}
	has := func() []PeerStatus {
		report, err := n.owner.report()
		require.NoError(t, err)
		require.Len(t, report.Peers, 1)
		return report.Peers
	}
	require.Eventually(t, func() bool { return has()[0].Keepalive > 0 }, patience, time.Millisecond) // from the answer on
	require.Equal(t, told[300], has()[0].Peer)
}

// Who was idle leaves, is remembered to the byte, and comes back from anywhere, over IPv4 and IPv6.
func TestLeaveAndComeBack(t *testing.T) {
	key := newKey(t)
	n := newNodeWith(t, Config{PrivateKey: key, Idle: restless})
	p := newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p)))
	var sent, received uint64
	for i := range 4 {
		host := []string{"127.0.0.1", "[::1]"}[i%2]
		p.connect(key.PublicKey(), n.port, fmt.Sprintf("endpoint=%s:%d", host, n.port))
		p.talks()
		shaken := p.shaken()
		n.empties()
		own, s := p.report()
		now := n.of(p)
		sent, received = sent+s.SentBytes, received+s.ReceivedBytes
		require.Equal(t, [2]uint64{sent, received}, [2]uint64{now.ReceivedBytes, now.SentBytes})
		require.WithinDuration(t, shaken, now.LastHandshake, patience)
		require.Equal(t, own.ListenPort, now.Endpoint.Port())
		require.Equal(t, netip.MustParseAddrPort(fmt.Sprintf("%s:1", host)).Addr(), now.Endpoint.Addr())
	}
}

// When there is something to send to a peer that has left, the node shakes hands with it where it was last, and nothing is lost.
func TestNodeCallsBack(t *testing.T) {
	key := newKey(t)
	n := newNodeWith(t, Config{PrivateKey: key, Idle: restless})
	p := newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p)))
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		p.connect(key.PublicKey(), n.port, fmt.Sprintf("endpoint=%s:%d", host, n.port))
		p.talks()
		n.empties()
		before := n.of(p)
		first := lastNumber.Add(3) - 2
		for i := range uint64(3) {
			n.tun.put(packet(gateway, p.addr, first+i))
		}
		for left := 3; left > 0; {
			select {
			case got := <-p.got:
				if got >= first { // else it is an answer of before that nobody waited for
					left--
				}
			case <-time.After(patience):
				t.Fatal("the packet does not come")
			}
		}
		require.True(t, n.of(p).LastHandshake.After(before.LastHandshake))
		require.Greater(t, n.of(p).SentBytes, before.SentBytes)
	}
}

// Junk for peers that are idle brings in few of them, and those leave soon.
func TestJunkForTheIdle(t *testing.T) {
	n := newNodeWith(t, Config{PrivateKey: newKey(t), Idle: time.Minute})
	told := manyPeers(3000)
	require.NoError(t, n.Set(t.Context(), nil, told))
	n.reg.mu.Lock()
	for e := range n.reg.peers.All() {
		e.past().note(visit{lane: n.owner.id, endpoint: netip.MustParseAddrPort("127.0.0.1:9")}, n.reg.live)
	}
	n.reg.mu.Unlock()
	began := time.Now()
	for _, p := range told {
		n.tun.put(packet(gateway, p.AllowedIPs[0].Addr(), 1))
		time.Sleep(50 * time.Microsecond)
	}
	require.Eventually(t, func() bool { return len(n.m.caller.queue) == 0 }, patience, time.Millisecond)
	require.LessOrEqual(t, n.active(), wakeBurst+wakeRate*int(time.Since(began)/time.Second+1))
	require.NotZero(t, n.active())
}

// An initiation of before neither brings a peer in, after it has left, nor moves its endpoint while it is there; a later one does.
func TestReplay(t *testing.T) {
	key, own := newKey(t), newKey(t)
	n := newNodeWith(t, Config{PrivateKey: key, Idle: restless})
	require.NoError(t, n.Set(t.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
	k, peer, thief := newKnocker(t, own, key.PublicKey()), newWire(t, n.port), newWire(t, n.port)
	first := k.next(t)
	require.EqualValues(t, device.MessageResponseType, peer.answer(first, patience))
	second := k.next(t)
	require.EqualValues(t, device.MessageResponseType, peer.answer(second, patience))
	require.Zero(t, thief.answer(second, moment/4))
	n.empties()
	s, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, peer.LocalAddr().String(), s.Peers[0].Endpoint.String())
	require.EqualValues(t, 2*device.MessageInitiationSize, s.Peers[0].ReceivedBytes)
	for _, old := range []message{first, second} {
		require.Zero(t, thief.answer(old, moment/4))
	}
	again, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, s, again)
	require.EqualValues(t, device.MessageResponseType, thief.answer(k.next(t), patience))
}

// When as many as can be are active, the one that was idle the longest leaves for who comes; while all are busy nobody does.
func TestFull(t *testing.T) {
	key := newKey(t)
	n := newNodeWith(t, Config{PrivateKey: key, MaxActive: 2})
	a, b, c := newPhone(t), newPhone(t), newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(a, b, c)))
	for _, p := range []*phone{a, b} {
		p.connect(key.PublicKey(), n.port)
		p.talks()
	}
	a.off() // it says nothing more
	c.connect(key.PublicKey(), n.port)
	require.False(t, c.says(moment))
	s, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, 2, s.Active)
	require.NotZero(t, s.TurnedAway)
	counted := n.of(a)

	n.reg.mu.Lock()
	for _, p := range []*phone{a, b} { // as if that was long ago
		e, _ := n.reg.peers.Get(p.key.PublicKey())
		e.in(n.owner).stay.heard = time.Now().Add(-defaultIdle / busyShare)
	}
	n.reg.mu.Unlock()
	b.talks()
	c.connect(key.PublicKey(), n.port)
	c.talks()
	require.NotNil(t, n.reg.get(b.key.PublicKey()).now, "the wrong one left")
	require.Nil(t, n.reg.get(a.key.PublicKey()).now)
	left := n.of(a)
	require.Equal(t, counted.ReceivedBytes, left.ReceivedBytes)
	require.GreaterOrEqual(t, left.SentBytes, counted.SentBytes) // the node may have looked for it
	require.Equal(t, counted.LastHandshake.UnixNano(), left.LastHandshake.UnixNano())
	require.Equal(t, counted.Endpoint, left.Endpoint)
}

// Changes reach a peer that is in a device, whose session goes on, and one that is in none.
func TestChangeOfActive(t *testing.T) {
	key := newKey(t)
	n := newNode(t, key, none)
	p, q := newPhone(t), newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p, q)))
	p.connect(key.PublicKey(), n.port)
	p.talks()
	before := p.shaken()
	told := peers(p)
	told[0].Keepalive = 25 * time.Second
	q.addr, told[0].AllowedIPs = p.addr, append(peers(q)[0].AllowedIPs, told[0].AllowedIPs...)
	require.NoError(t, n.Set(t.Context(), nil, told))
	p.talks()
	require.Equal(t, before, p.shaken())
	require.NoError(t, n.Set(t.Context(), nil, peers(q))) // which takes the address of p
	require.False(t, p.says(moment))
	q.connect(key.PublicKey(), n.port)
	q.talks()
	require.NoError(t, n.Set(t.Context(), []wgtypes.Key{p.key.PublicKey()}, nil))
	require.Equal(t, 1, n.active())
	q.talks()
}

// An initiation that waits while its sender is removed does not bring it back.
func TestRemovedWhileItWaits(t *testing.T) {
	key, own := newKey(t), newKey(t)
	n := newNode(t, key, none)
	k := newKnocker(t, own, key.PublicKey())
	from, err := n.m.bind.ParseEndpoint("127.0.0.1:9")
	require.NoError(t, err)
	for i := range 20 {
		require.NoError(t, n.Set(t.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
		e := n.reg.get(own.PublicKey())
		e.door.Lock()
		n.m.gate.queue <- knock{k.next(t), from}
		removed := make(chan error)
		go func() { removed <- n.Set(t.Context(), []wgtypes.Key{own.PublicKey()}, nil) }()
		time.Sleep(time.Duration(i) * 100 * time.Microsecond) // both wait at the door, in either order
		e.door.Unlock()
		require.NoError(t, <-removed)
		require.Eventually(t, func() bool { return len(n.m.gate.queue) == 0 }, patience, time.Millisecond)
		require.Zero(t, n.active())
		require.Nil(t, n.owner.dev.LookupPeer(device.NoisePublicKey(own.PublicKey())))
	}
}
