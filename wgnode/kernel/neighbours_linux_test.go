//go:build linux

package kernel_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// neighbour is a dataplane with one peer, whose device is on.
type neighbour struct {
	dp     *kernel.Dataplane
	cfg    wgnode.DataplaneConfig
	client wgnode.ClientConfig
	state  wgnode.State
}

// newNeighbour makes a dataplane that is not started.
func newNeighbour(tb testing.TB, cfg kernel.Config, number byte) *neighbour {
	tb.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(tb, err)
	n := &neighbour{cfg: settings(tb, number)}
	addrs := []netip.Addr{n.cfg.Addresses[0].Addr().Next(), n.cfg.Addresses[1].Addr().Next()}
	n.state = wgnode.State{Peers: []wgnode.PeerState{{PublicKey: private.PublicKey(), Addrs: addrs}}}
	n.client = wgnode.ClientConfig{
		PrivateKey: private, Addrs: addrs, MTU: n.cfg.MTU, ServerKey: n.cfg.PrivateKey.PublicKey(),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
		Endpoint:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.cfg.ListenPort).String(),
	}
	n.again(tb, cfg)
	return n
}

// again makes the neighbour's next dataplane.
func (n *neighbour) again(tb testing.TB, cfg kernel.Config) {
	tb.Helper()
	dp, err := kernel.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, dp.Close()) })
	n.dp = dp
}

func (n *neighbour) start(tb testing.TB) {
	tb.Helper()
	_, err := n.dp.Start(tb.Context(), n.cfg, n.state)
	require.NoError(tb, err)
}

// requireWorking asserts that a phone gets through, both ways and in both families.
func (n *neighbour) requireWorking(tb testing.TB, p *phone) {
	tb.Helper()
	w := &watched{phone: p}
	require.True(tb, w.comes(w.answers), "nothing comes through")
}

// closeIfFailed frees the namespace for the next test, for tests that close their rig themselves.
func (r *rig) closeIfFailed() {
	if r.tb.Failed() {
		_ = r.Close()
	}
}

func forwarding(tb testing.TB) string {
	tb.Helper()
	var values []string
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		value, err := os.ReadFile("/proc/sys/net/" + name)
		require.NoError(tb, err)
		values = append(values, strings.TrimSpace(string(value)))
	}
	return strings.Join(values, " ")
}

// TestNeighbours has two dataplanes on one host. Whichever ends first, the other goes on, and the last puts back what the first
// has changed.
func TestNeighbours(t *testing.T) {
	for name, firstEnds := range map[string]int{"the first ends first": 0, "the second ends first": 1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, kernel.DriverTUN)
			t.Cleanup(r.closeIfFailed)
			r.serve(t, server4, server6)
			var both [2]*neighbour
			var phones [2]*phone
			for i, iface := range []string{rigInterface, "wl1"} {
				both[i] = newNeighbour(t, kernel.Config{Interface: iface, Driver: kernel.DriverTUN}, byte(10+i))
				both[i].start(t)
				phones[i] = newPhone(t, r, both[i].client)
				both[i].requireWorking(t, phones[i])
			}
			require.Equal(t, "1 1", forwarding(t))
			other := 1 - firstEnds
			both[other].rest(t) // its neighbour's addresses are the host's
			repairs, err := both[other].dp.Sync(t.Context(), both[other].state)
			require.NoError(t, err)
			require.Empty(t, repairs, "neighbours mend each other")
			require.NoError(t, both[firstEnds].dp.Close())
			require.Equal(t, "1 1", forwarding(t))
			both[other].requireWorking(t, phones[other]) // it has not ended, too
			require.NoError(t, both[other].dp.Close())
			require.Equal(t, "0 0", forwarding(t))
			for _, p := range phones {
				p.close()
			}
			require.NoError(t, r.Close())
		})
	}
}

// A name is one dataplane's at a time.
func TestSameName(t *testing.T) {
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.serve(t, server4, server6)
	first, second := newNeighbour(t, r.cfg, 10), newNeighbour(t, r.cfg, 11)
	first.start(t)
	p := newPhone(t, r, first.client)
	first.requireWorking(t, p)
	first.rest(t)
	before := lookAtHost(t)
	_, err := second.dp.Start(t.Context(), second.cfg, second.state)
	require.ErrorContains(t, err, "interface wl0 is served by another dataplane")
	require.ErrorContains(t, err, "choose another Interface")
	requireSameHost(t, before)
	first.requireWorking(t, p)
	repairs, err := first.dp.Sync(t.Context(), first.state)
	require.NoError(t, err)
	require.Empty(t, repairs)
	require.NoError(t, first.dp.Close())
	first.again(t, r.cfg) // the name is free at once
	first.start(t)
	require.NoError(t, first.dp.Close())
}

// Somebody else's interface is left alone.
func TestTakenName(t *testing.T) {
	for _, name := range []string{rigInterface, rigInterface + "-up"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, kernel.DriverTUN)
			t.Cleanup(func() { require.NoError(t, r.Close()) })
			output(t, "ip", "link", "add", name, "type", "ifb")
			t.Cleanup(func() { output(t, "ip", "link", "delete", name) })
			output(t, "ip", "address", "add", "192.0.2.200/32", "dev", name)
			before := lookAtHost(t)
			n := newNeighbour(t, r.cfg, 10)
			_, err := n.dp.Start(t.Context(), n.cfg, n.state)
			require.ErrorIs(t, err, link.ErrTaken)
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, "choose another interface name")
			require.ErrorContains(t, err, "ip link delete "+name)
			requireSameHost(t, before)
		})
	}
}

// floodRequest asks a server for floodSize datagrams.
const (
	floodRequest = "more!"
	floodSize    = 200
)

// freePort is a UDP port that nothing listens at.
func freePort(tb testing.TB) uint16 {
	tb.Helper()
	conn, err := net.ListenUDP("udp", nil)
	require.NoError(tb, err)
	defer conn.Close()
	return uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}

// server echoes datagrams.
type server struct{ received atomic.Uint64 }

// serve has hosts at addresses that echo what comes, until the test ends.
func (r *rig) serve(tb testing.TB, addrs ...netip.AddrPort) *server {
	tb.Helper()
	s := &server{}
	for _, addr := range addrs {
		conn, err := r.ListenUDP(addr)
		require.NoError(tb, err)
		var wg sync.WaitGroup
		wg.Go(func() { s.echo(conn) })
		tb.Cleanup(func() {
			_ = conn.Close()
			wg.Wait()
		})
	}
	return s
}

func (s *server) echo(conn net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		s.received.Add(uint64(n))
		switch {
		case string(b[:n]) == floodRequest:
			for range floodSize {
				_, _ = conn.WriteTo(make([]byte, 1200), from)
			}
		case n < 100:
			_, _ = conn.WriteTo(b[:n], from)
		}
	}
}

// phone is a peer's device.
type phone struct {
	net      *netstack.Net
	link     io.Closer
	received atomic.Uint64
	asked    atomic.Uint32
	once     sync.Once
	readers  sync.WaitGroup
	main     net.Conn // to server4
}

func newPhone(tb testing.TB, r *rig, cfg wgnode.ClientConfig) *phone {
	tb.Helper()
	dev, stack, err := clienttun.Create(cfg.Addrs, nil, cfg.MTU)
	require.NoError(tb, err)
	p := &phone{net: stack}
	p.link, err = r.Connect(dev, cfg)
	require.NoError(tb, err)
	p.main, err = stack.DialUDPAddrPort(netip.AddrPort{}, server4)
	require.NoError(tb, err)
	p.readers.Go(func() {
		b := make([]byte, 2048)
		for {
			n, err := p.main.Read(b)
			if err != nil {
				return
			}
			p.received.Add(uint64(n))
		}
	})
	tb.Cleanup(p.close)
	return p
}

func (p *phone) close() {
	p.once.Do(func() {
		_ = p.main.Close()
		p.readers.Wait()
		_ = p.link.Close()
	})
}

func (p *phone) say(what string) { _, _ = p.main.Write([]byte(what)) }

// flood sends more than a limit lets through at once.
func (p *phone) flood() {
	for range floodSize {
		_, _ = p.main.Write(make([]byte, 1200))
	}
}

// reaches sends one datagram, and waits a moment for its echo.
func (p *phone) reaches(to netip.AddrPort) bool {
	conn, err := p.net.DialUDPAddrPort(netip.AddrPort{}, to)
	if err != nil {
		return false
	}
	defer conn.Close()
	message := []byte{byte(p.asked.Add(1)), 'h', 'i'}
	_, _ = conn.Write(message)
	_ = conn.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
	answer := make([]byte, 2048)
	n, err := conn.Read(answer)
	return err == nil && bytes.Equal(message, answer[:n])
}
