package wggo

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/device"
)

// What nobody vouches for is neither remembered nor changes a way.
func TestGarbage(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, b, a)
	p := newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p)))
	p.connect(a.PublicKey(), n.port)
	p.talks()
	pair := n.m.pair.Load()
	indices := func() (sum int) {
		for _, l := range n.lanes() {
			for i := range l.indices.shards {
				s := &l.indices.shards[i]
				s.mu.RLock()
				sum += len(s.young) + len(s.old)
				s.mu.RUnlock()
			}
		}
		return sum
	}
	known := indices()
	socket, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(n.port)})
	require.NoError(t, err)
	defer socket.Close()
	var mac device.CookieGenerator
	mac.Init(device.NoisePublicKey(b.PublicKey()))
	random := rand.NewChaCha8([32]byte{1})
	for i := range 4000 {
		kind := uint32(i % 6)
		message := make([]byte, []int{7, device.MessageInitiationSize, device.MessageResponseSize, device.MessageCookieReplySize, 200, 32}[kind])
		_, _ = random.Read(message)
		if len(message) > 4 {
			binary.LittleEndian.PutUint32(message, kind)
		}
		if kind == device.MessageInitiationType && i%2 == 0 {
			mac.AddMacs(message) // anybody can who knows the public key
		}
		_, err := socket.Write(message)
		require.NoError(t, err)
	}
	p.talks()
	require.Equal(t, known, indices())
	require.Same(t, pair.owner, n.reg.lookup(p.addr).now.by.Load())
}

// A handshake that the node begins by the second device comes to its end there.
func TestNodeBegins(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, b, a)
	p := newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p)))
	p.connect(b.PublicKey(), n.port)
	s, err := (&lane{dev: p.dev}).report()
	require.NoError(t, err)
	endpoint := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.ListenPort)
	e := n.reg.get(p.key.PublicKey())
	n.reg.mu.Lock()
	e.past().note(visit{lane: n.guest.id, endpoint: endpoint}, n.reg.live) // as if it had been there
	n.reg.mu.Unlock()
	n.tun.put(packet(gateway, p.addr, 1))
	select {
	case got := <-p.got:
		require.EqualValues(t, 1, got)
	case <-time.After(patience):
		t.Fatal("the packet does not come")
	}
	require.False(t, n.of(p).LastHandshake.IsZero())
	require.False(t, n.of(p).FormerKey)
}

// Messages go to the guest by the index that it chose, whatever their kind; initiations are the gate's.
func TestForGuest(t *testing.T) {
	owner, guest := new(lane), new(lane)
	p := newPair(new(registry), owner, guest)
	to := func(kind byte, size int, at int, index uint32) []byte {
		message := make([]byte, size)
		message[0] = kind
		binary.LittleEndian.PutUint32(message[at:], index)
		return message
	}
	for index, sent := range map[uint32][]byte{
		11: to(device.MessageInitiationType, device.MessageInitiationSize, 4, 11), 12: to(device.MessageResponseType, device.MessageResponseSize, 4, 12),
	} {
		incoming := [][]byte{
			to(device.MessageResponseType, device.MessageResponseSize, 8, index), to(device.MessageCookieReplyType, device.MessageCookieReplySize, 4, index),
			to(device.MessageTransportType, device.MessageTransportSize, 4, index),
		}
		owner.sending([][]byte{sent}, p)
		for _, message := range incoming {
			require.False(t, p.forGuest(message))
		}
		guest.sending([][]byte{sent}, p)
		for _, message := range incoming {
			require.True(t, p.forGuest(message))
			require.False(t, p.forGuest(message[:20]))
		}
	}
}

func TestIndices(t *testing.T) {
	var x indices
	now := time.Now()
	x.add(64, now)
	x.add(128, now.Add(indexLife-1))
	require.True(t, x.has(64))
	x.add(192, now.Add(indexLife))
	require.True(t, x.has(64), "until all that is young is old")
	x.add(256, now.Add(2*indexLife))
	require.False(t, x.has(64))
	require.False(t, x.has(128))
	require.True(t, x.has(192))
	x.add(320, now.Add(5*indexLife))
	require.False(t, x.has(192))
	require.False(t, x.has(256))
	require.True(t, x.has(320))
	for i := range uint32(3 * indexMost) {
		x.add(i*indexShards, now)
	}
	require.LessOrEqual(t, len(x.shards[0].young)+len(x.shards[0].old), 2*indexMost)
	require.True(t, x.has((3*indexMost-1)*indexShards))
}
