package wgdev

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

func TestOpenUpClose(t *testing.T) {
	eachDriver(t, func(t *testing.T, c *link.Conn, open func() Device) {
		d := open()
		l, adopted, err := d.Open(t.Context(), config(t))
		require.NoError(t, err)
		require.False(t, adopted)
		require.True(t, l.Ours())
		require.False(t, l.Up)
		require.Equal(t, testMTU, l.MTU)
		require.True(t, portFree(testPort), "a socket is open before Up")
		require.Empty(t, get(t, d))

		port, err := d.Up(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint16(testPort), port)
		require.False(t, portFree(testPort))
		l, _, err = c.LinkByIndex(l.Index)
		require.NoError(t, err)
		require.True(t, l.Up)
		addrs, err := c.Addresses(l.Index)
		require.NoError(t, err)
		require.Empty(t, addrs)
		before := c.Writes()
		port, err = d.Up(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint16(testPort), port)
		require.Equal(t, before, c.Writes())

		require.NoError(t, d.Close(false))
		_, ok, err := c.LinkByName(testName)
		require.NoError(t, err)
		require.False(t, ok)
		require.True(t, portFree(testPort))
		require.NoError(t, d.Close(false))
		select {
		case <-d.Failed():
			t.Fatal("a device that was closed has not failed")
		default:
		}
	})
}

func TestChosenPort(t *testing.T) {
	eachDriver(t, func(t *testing.T, _ *link.Conn, open func() Device) {
		cfg := config(t)
		cfg.ListenPort = 0
		d := open()
		_, _, err := d.Open(t.Context(), cfg)
		require.NoError(t, err)
		defer d.Close(false)
		port, err := d.Up(t.Context())
		require.NoError(t, err)
		require.NotZero(t, port)
		again, err := d.Up(t.Context())
		require.NoError(t, err)
		require.Equal(t, port, again)
		require.False(t, portFree(port))
	})
}

func TestPortTaken(t *testing.T) {
	eachDriver(t, func(t *testing.T, _ *link.Conn, open func() Device) {
		socket, err := net.ListenPacket("udp", fmt.Sprintf(":%d", testPort))
		require.NoError(t, err)
		d := open()
		_, _, err = d.Open(t.Context(), config(t))
		require.NoError(t, err)
		defer d.Close(false)
		_, err = d.Up(t.Context())
		require.ErrorIs(t, err, unix.EADDRINUSE)
		require.ErrorContains(t, err, fmt.Sprintf("UDP port %d is taken", testPort))
		require.NoError(t, socket.Close())
		_, err = d.Up(t.Context())
		require.NoError(t, err)
	})
}

// Everything in any order does no harm.
func TestLifecycle(t *testing.T) {
	eachDriver(t, func(t *testing.T, c *link.Conn, open func() Device) {
		cfg := config(t)
		d := open()
		_, err := d.Up(t.Context())
		require.ErrorIs(t, err, errClosed)
		_, err = d.Status(t.Context())
		require.ErrorIs(t, err, errClosed)
		require.ErrorIs(t, d.Set(t.Context(), nil, nil), errClosed)
		require.NoError(t, d.Close(false))
		_, _, err = d.Open(t.Context(), cfg)
		require.ErrorIs(t, err, errClosed)
		require.Zero(t, c.Writes())

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err = open().Open(gone, cfg)
		require.ErrorIs(t, err, context.Canceled)

		d = open()
		start(t, d, cfg)
		_, _, err = d.Open(t.Context(), cfg)
		require.ErrorIs(t, err, errClosed)
		_, err = d.Status(t.Context())
		require.NoError(t, err, "a second Open does not harm the first")
		require.ErrorIs(t, d.Set(gone, nil, []Peer{{PublicKey: key(t).PublicKey()}}), context.Canceled)
	})
}

// An Open that fails leaves neither an interface nor a descriptor.
func TestFailedOpen(t *testing.T) {
	eachDriver(t, func(t *testing.T, c *link.Conn, open func() Device) {
		descriptors := func() int {
			entries, err := os.ReadDir("/proc/self/fd")
			require.NoError(t, err)
			return len(entries)
		}
		before := descriptors()
		for range 3 {
			cfg := config(t)
			cfg.MTU = -1
			_, _, err := open().Open(t.Context(), cfg)
			require.Error(t, err)
			_, ok, err := c.LinkByName(testName)
			require.NoError(t, err)
			require.False(t, ok)
		}
		require.Equal(t, before, descriptors())
	})
}

func TestSet(t *testing.T) {
	eachDriver(t, func(t *testing.T, _ *link.Conn, open func() Device) {
		d := open()
		start(t, d, config(t))
		set := func(remove []wgtypes.Key, peers ...Peer) {
			t.Helper()
			for range 2 {
				require.NoError(t, d.Set(t.Context(), remove, peers))
			}
		}
		a := Peer{PublicKey: key(t).PublicKey(), PresharedKey: key(t), AllowedIPs: prefixes("10.8.0.2/32", "fd08::2/128"), Keepalive: 25 * time.Second}
		b := Peer{PublicKey: key(t).PublicKey(), AllowedIPs: prefixes("10.8.0.3/32", "192.0.2.0/24")}
		stranger := key(t).PublicKey()
		set([]wgtypes.Key{stranger}, a, b)
		same(t, d, a, b)

		a.PresharedKey, a.Keepalive, a.AllowedIPs = wgtypes.Key{}, 0, prefixes("10.8.0.2/32")
		b.PresharedKey = key(t)
		set(nil, a, b)
		same(t, d, a, b)

		a.AllowedIPs, b.AllowedIPs = b.AllowedIPs, a.AllowedIPs
		set(nil, a, b)
		same(t, d, a, b)

		a.AllowedIPs = append(a.AllowedIPs, b.AllowedIPs...) // moves to a, of which b is not told
		set(nil, a)
		b.AllowedIPs = nil
		same(t, d, a, b)

		c := Peer{PublicKey: key(t).PublicKey(), AllowedIPs: a.AllowedIPs} // a leaver's addresses, in the same call
		set([]wgtypes.Key{a.PublicKey}, c)
		same(t, d, b, c)
		set([]wgtypes.Key{b.PublicKey, c.PublicKey})
		same(t, d)

		var many []netip.Prefix
		for i := range 700 {
			many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32))
		}
		a.AllowedIPs = many
		set(nil, b, a, c)
		same(t, d, a, b, c)
		a.AllowedIPs = many[:1]
		set(nil, a)
		same(t, d, a, b, c)
	})
}

func TestManyPeers(t *testing.T) {
	eachDriver(t, func(t *testing.T, _ *link.Conn, open func() Device) {
		d := open()
		start(t, d, config(t))
		const n = 10_000
		peers := make([]Peer, n)
		keys := make([]wgtypes.Key, n)
		for i := range peers {
			var k wgtypes.Key
			k[0], k[1], k[2] = byte(i), byte(i>>8), 1 // any bytes are a public key
			keys[i] = k
			peers[i] = Peer{PublicKey: k, AllowedIPs: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)}), 128),
			}}
		}
		began := time.Now()
		require.NoError(t, d.Set(t.Context(), nil, peers))
		t.Logf("set %d peers in %v", n, time.Since(began))
		began = time.Now()
		same(t, d, peers...)
		t.Logf("read them in %v", time.Since(began))
		began = time.Now()
		require.NoError(t, d.Set(t.Context(), keys, nil))
		t.Logf("removed them in %v", time.Since(began))
		require.Empty(t, get(t, d))
	})
}

func TestTraffic(t *testing.T) {
	eachDriver(t, func(t *testing.T, c *link.Conn, open func() Device) {
		cfg, psk := config(t), key(t)
		d := open()
		l := start(t, d, cfg)
		gateway := netip.MustParseAddr("10.8.0.1")
		require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
		peer := newClient(t, cfg.PrivateKey.PublicKey(), psk, netip.MustParseAddr("10.8.0.2"), gateway)
		require.NoError(t, d.Set(t.Context(), nil, []Peer{peer.peer(psk)}))
		idle := get(t, d)[peer.key.PublicKey()]
		require.True(t, idle.LastHandshake.IsZero())
		require.False(t, idle.Endpoint.IsValid())

		require.NoError(t, peer.talk(gateway))
		first := get(t, d)[peer.key.PublicKey()]
		require.WithinDuration(t, time.Now(), first.LastHandshake, time.Minute)
		require.Equal(t, netip.MustParseAddr("10.1.0.2"), first.Endpoint.Addr())
		require.NotZero(t, first.ReceivedBytes)
		require.NotZero(t, first.SentBytes)

		// Told again, or told of other addresses, the peer keeps its session; so it does while the interface is down.
		more := peer.peer(psk)
		more.AllowedIPs = append(more.AllowedIPs, prefixes("10.8.0.77/32")...)
		require.NoError(t, d.Set(t.Context(), nil, []Peer{more}))
		require.NoError(t, d.Set(t.Context(), []wgtypes.Key{key(t).PublicKey()}, []Peer{peer.peer(psk)}))
		require.NoError(t, peer.talk(gateway))
		require.Equal(t, first.LastHandshake, get(t, d)[peer.key.PublicKey()].LastHandshake)

		require.NoError(t, d.Set(t.Context(), []wgtypes.Key{peer.key.PublicKey()}, nil))
		require.Empty(t, get(t, d))
	})
}

// Peers come, go and are read from several goroutines while the device closes.
func TestConcurrentUse(t *testing.T) {
	eachDriver(t, func(t *testing.T, _ *link.Conn, open func() Device) {
		d := open()
		start(t, d, config(t))
		var all sync.WaitGroup
		started := make(chan struct{}, 4)
		for i := range 4 {
			peer := Peer{PublicKey: key(t).PublicKey(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, 0, byte(i)}), 32)}}
			all.Go(func() {
				for n := 0; ; n++ {
					err := d.Set(t.Context(), nil, []Peer{peer})
					if err == nil {
						_, err = d.Status(t.Context())
					}
					if err == nil {
						err = d.Set(t.Context(), []wgtypes.Key{peer.PublicKey}, nil)
					}
					if err == nil {
						_, err = d.Up(t.Context())
					}
					if n == 20 || n < 20 && err != nil {
						started <- struct{}{}
					}
					if err != nil {
						return
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		require.NoError(t, d.Close(false))
		all.Wait()
	})
}
