package wgdev

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	wgconn "golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

const (
	testName = "wl0"
	testPort = 51999
	testMTU  = 1400
)

// eachDriver runs a test with every driver that this kernel has.
func eachDriver(t *testing.T, test func(t *testing.T, c *link.Conn, open func() Device)) {
	t.Run("TUN", func(t *testing.T) {
		c := dial(t)
		test(t, c, func() Device { return NewTUN(c) })
	})
	t.Run("module", func(t *testing.T) {
		c := dial(t)
		requireModule(t, c)
		test(t, c, func() Device { return NewModule(c) })
	})
}

// requireModule skips the test where the kernel has no WireGuard module, and only there. TestVM runs the same tests in a virtual
// machine that has it.
func requireModule(t *testing.T, c *link.Conn) {
	t.Helper()
	err := SupportedModule(c)
	if errors.Is(err, wgnode.ErrNotSupported) {
		t.Skipf("TestVM runs this where the module is: %v", err)
	}
	require.NoError(t, err)
}

// dial connects to the test's namespace, and sees at the end of the test that nothing is left.
func dial(t *testing.T) *link.Conn {
	t.Helper()
	netns.Require(t)
	c, err := link.Dial()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		links, err := net.Interfaces()
		require.NoError(t, err)
		require.Len(t, links, 1, "links are left behind: %v", links)
		goleak.VerifyNone(t)
	})
	return c
}

func key(t *testing.T) wgtypes.Key {
	t.Helper()
	k, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return k
}

func config(t *testing.T) Config {
	t.Helper()
	return Config{Name: testName, PrivateKey: key(t), ListenPort: testPort, FirewallMark: 7, MTU: testMTU}
}

// start opens a device that goes with the test, and sets it up.
func start(t *testing.T, d Device, cfg Config) link.Link {
	t.Helper()
	l, _, err := d.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close(false)) })
	port, err := d.Up(t.Context())
	require.NoError(t, err)
	require.Equal(t, cfg.ListenPort, port)
	return l
}

// get returns the device's peers by key.
func get(t *testing.T, d Device) map[wgtypes.Key]PeerStatus {
	t.Helper()
	have, err := d.Status(t.Context())
	require.NoError(t, err)
	byKey := make(map[wgtypes.Key]PeerStatus, len(have.Peers))
	for _, p := range have.Peers {
		byKey[p.PublicKey] = p
	}
	require.Len(t, byKey, len(have.Peers))
	return byKey
}

// same compares what a device was told with what it says; allowed IPs come in any order.
func same(t *testing.T, d Device, want ...Peer) {
	t.Helper()
	have := get(t, d)
	require.Len(t, have, len(want))
	for _, p := range want {
		got, ok := have[p.PublicKey]
		require.True(t, ok)
		require.ElementsMatch(t, p.AllowedIPs, got.AllowedIPs)
		require.Equal(t, p.PresharedKey, got.PresharedKey)
		require.Equal(t, p.Keepalive, got.Keepalive)
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, text := range texts {
		p = append(p, netip.MustParsePrefix(text))
	}
	return p
}

// portFree reports that no socket of the test's namespace has the UDP port.
func portFree(port uint16) bool {
	socket, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return socket.Close() == nil
}

// client is a peer on another host: wireguard-go on a TUN there.
type client struct {
	t    *testing.T
	host *netns.Namespace
	dev  *device.Device
	addr netip.Addr
	key  wgtypes.Key
}

// newClient makes a peer that knows the way to a device of the test's namespace, which has the address gateway in the tunnel.
func newClient(t *testing.T, server wgtypes.Key, psk wgtypes.Key, addr netip.Addr, gateway netip.Addr) *client {
	t.Helper()
	c := &client{t: t, host: netns.New(t), addr: addr, key: key(t)}
	netns.Veth(t, netns.End{Name: "near", Addrs: prefixes("10.1.0.1/24")}, netns.End{Name: "far", Namespace: c.host, Addrs: prefixes("10.1.0.2/24")})
	c.host.Do(t, func() error {
		conn, err := link.Dial()
		if err != nil {
			return err
		}
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		file, l, err := openTUN(conn, "client")
		if err != nil {
			return err
		}
		native, err := tun.CreateTUNFromFile(file, testMTU)
		if err != nil {
			return errors.Join(err, file.Close())
		}
		c.dev = device.NewDevice(newSteady(native), wgconn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
		t.Cleanup(c.dev.Close)
		return errors.Join(
			c.dev.IpcSet("private_key="+hexKey(c.key)+"\n"), c.dev.Up(), conn.EnsureUp(l.Index),
			conn.EnsureAddresses(l.Index, []netip.Prefix{netip.PrefixFrom(addr, 24)}))
	})
	c.meet(server, psk, gateway)
	return c
}

// meet has the peer know a device by a key, and by no other.
func (c *client) meet(server, psk wgtypes.Key, gateway netip.Addr) {
	c.t.Helper()
	require.NoError(c.t, c.dev.IpcSet(fmt.Sprintf("replace_peers=true\npublic_key=%s\npreshared_key=%s\nallowed_ip=%s/32\nendpoint=10.1.0.1:%d\n",
		hexKey(server), hexKey(psk), gateway, testPort)))
}

func hexKey(key wgtypes.Key) string { return hex.EncodeToString(key[:]) }

// send sends datagrams that nobody answers, and waits until they were sent.
func (c *client) send(to netip.Addr, n int) {
	c.t.Helper()
	c.host.Do(c.t, func() error {
		socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			return err
		}
		for range n {
			if _, err := socket.Write([]byte("hello")); err != nil {
				return errors.Join(err, socket.Close())
			}
			time.Sleep(5 * time.Millisecond)
		}
		return socket.Close()
	})
}

func (c *client) peer(psk wgtypes.Key) Peer {
	return Peer{PublicKey: c.key.PublicKey(), PresharedKey: psk, AllowedIPs: []netip.Prefix{netip.PrefixFrom(c.addr, 32)}}
}

// talk sends datagrams from the client to a socket of the test's namespace until an answer comes.
func (c *client) talk(gateway netip.Addr) error {
	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(gateway, 0)))
	if err != nil {
		return err
	}
	defer server.Close()
	echo := make(chan struct{})
	go func() {
		defer close(echo)
		for b := make([]byte, 100); ; {
			n, from, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	defer func() { _ = server.Close(); <-echo }()

	var socket net.Conn
	c.host.Do(c.t, func() (err error) {
		socket, err = net.Dial("udp", server.LocalAddr().String())
		return err
	})
	defer socket.Close()
	for range 60 {
		if _, err = socket.Write([]byte("hello")); err != nil {
			return err
		}
		_ = socket.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err = socket.Read(make([]byte, 100)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer through the tunnel: %w", err)
}
