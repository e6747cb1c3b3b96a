package kernel_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun"

	packets "github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/kernel/internal/flows"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// seen is a packet that crossed a wire.
type seen struct {
	packets.Info
	raw []byte
}

// capture keeps what crosses a wire in one direction.
type capture struct {
	mu   sync.Mutex
	kept []seen // guarded by mu
}

// add keeps a packet; one that is none is not of interest.
func (c *capture) add(packet []byte) {
	s := seen{raw: bytes.Clone(packet)}
	if s.Parse(s.raw) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, s)
}

func (c *capture) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = nil
}

// that are the packets which fulfil a condition.
func (c *capture) that(condition func(seen) bool) (found []seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.kept {
		if condition(s) {
			found = append(found, s)
		}
	}
	return found
}

// await returns the first packet that fulfils a condition, once it has come.
func (c *capture) await(tb testing.TB, what string, condition func(seen) bool) seen {
	tb.Helper()
	for began := time.Now(); time.Since(began) < guestPatience; time.Sleep(time.Millisecond) {
		if found := c.that(condition); len(found) > 0 {
			return found[0]
		}
	}
	require.FailNow(tb, "it does not come", what)
	return seen{}
}

// wire is a link of the host to the outside, a TUN, with other hosts at the end of it, each with a network stack of its own.
type wire struct {
	name     string
	addrs    []netip.Addr // the host's
	departed capture      // what the host has sent
	file     *os.File
	reader   sync.WaitGroup

	mu    sync.Mutex
	hosts map[netip.Addr]*conformance.Stack // guarded by mu
}

// newWire makes a link with addresses of the host's, over which routes lead. It goes with the test.
func newWire(tb testing.TB, name string, mtu int, addrs []netip.Prefix, routes ...string) *wire {
	tb.Helper()
	w := &wire{name: name, file: netns.OpenTUN(tb, name, mtu, uplinkQueue), hosts: make(map[netip.Addr]*conformance.Stack)}
	for _, addr := range addrs {
		netns.AddAddr(tb, nil, name, addr)
		w.addrs = append(w.addrs, addr.Addr())
	}
	for _, route := range routes {
		netns.AddRoute(tb, nil, name, netip.MustParsePrefix(route), netip.Addr{})
	}
	w.reader.Go(w.receive)
	tb.Cleanup(func() {
		require.NoError(tb, w.file.Close())
		w.reader.Wait()
	})
	return w
}

func (w *wire) receive() {
	for packet := make([]byte, 1<<16); ; {
		n, err := w.file.Read(packet)
		if err != nil {
			return
		}
		w.departed.add(packet[:n])
		var info packets.Info
		if info.Parse(packet[:n]) != nil {
			continue
		}
		w.mu.Lock()
		host := w.hosts[info.Dst]
		w.mu.Unlock()
		if host != nil {
			host.Inject(packet[:n])
		}
	}
}

// inject has a packet come to the host.
func (w *wire) inject(tb testing.TB, packet []byte) {
	tb.Helper()
	_, err := w.file.Write(packet)
	require.NoError(tb, err)
}

// host puts a host on the wire that echoes what comes by TCP and UDP to port 7, answers pings, and refuses the rest.
func (w *wire) host(tb testing.TB, addrs ...netip.Addr) *conformance.Stack {
	tb.Helper()
	stack, err := conformance.NewStack(1500, func(packet []byte) { _, _ = w.file.Write(packet) })
	require.NoError(tb, err)
	tb.Cleanup(stack.Close)
	for _, addr := range addrs {
		require.NoError(tb, stack.AddAddr(addr))
		l, err := stack.ListenTCP(netip.AddrPortFrom(addr, echoPort))
		require.NoError(tb, err)
		tb.Cleanup(func() { _ = l.Close() })
		go serveEcho(l)
		conn, err := stack.ListenUDP(netip.AddrPortFrom(addr, echoPort))
		require.NoError(tb, err)
		tb.Cleanup(func() { _ = conn.Close() })
		go serveEchoUDP(conn)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, addr := range addrs {
		w.hosts[addr] = stack
	}
	return stack
}

// echoPort is that of the echo service (RFC 862).
const echoPort = 7

func serveEchoUDP(conn net.PacketConn) {
	for buf := make([]byte, 2048); ; {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

// newHost makes a host of the namespace that forwards nothing, before it gets wires. With the test's end it must look as it
// does when ready is called, which is after they are there.
func newHost(tb testing.TB) (ready func()) {
	tb.Helper()
	netns.Require(tb)
	requireHostTools(tb)
	resetHost(tb)
	return func() {
		before := lookAtHost(tb)
		tb.Cleanup(func() {
			if !tb.Failed() {
				requireSameHost(tb, before)
			}
		})
	}
}

// visitor is a dataplane's one peer, with a network stack on its device.
type visitor struct {
	*neighbour
	*conformance.Stack
	arrived capture // what came to it
	device  *guestDevice
	leave   func() // takes the device away
}

// newVisitor starts a dataplane with one peer, and connects its device.
func newVisitor(tb testing.TB, cfg kernel.Config, change ...func(*neighbour)) *visitor {
	tb.Helper()
	cfg.Interface, cfg.Driver = rigInterface, kernel.DriverTUN
	v := &visitor{neighbour: newNeighbour(tb, cfg, 10)}
	for _, f := range change {
		f(v.neighbour)
	}
	// What flows of a former visitor left as, these need not: the host may remember one with the same ports.
	_, err := flows.Forget(v.client.Addrs)
	require.NoError(tb, err)
	v.start(tb)
	v.connect(tb)
	return v
}

// connect brings the peer's device up, and returns when the tunnel is.
func (v *visitor) connect(tb testing.TB) {
	tb.Helper()
	mtu := v.client.MTU
	v.device = &guestDevice{mtu: mtu, out: make(chan []byte, 512), events: make(chan tun.Event), cut: make(chan struct{})}
	stack, err := conformance.NewStack(mtu, v.device.send)
	require.NoError(tb, err)
	v.Stack = stack
	v.device.deliver = func(packet []byte) {
		v.arrived.add(packet)
		stack.Inject(packet)
	}
	for _, addr := range v.client.Addrs {
		require.NoError(tb, stack.AddAddr(addr))
	}
	cfg := v.client
	cfg.Keepalive = time.Second
	link, err := conformance.ConnectWireGuard(v.device, cfg)
	require.NoError(tb, err)
	v.leave = sync.OnceFunc(func() {
		_ = link.Close()
		stack.Close()
	})
	tb.Cleanup(v.leave)
	require.True(tb, (&watched{dp: v.dp}).comes(func() bool { return v.handshaken(tb) }), "no handshake")
}

func (v *visitor) handshaken(tb testing.TB) bool {
	tb.Helper()
	stats, err := v.dp.Stats(tb.Context(), statsOf(v.state.Peers[0].PublicKey))
	require.NoError(tb, err)
	return len(stats.Peers) == 1 && !stats.Peers[0].LastHandshake.IsZero()
}

// addr is the peer's own address of the family of another one.
func (v *visitor) addr(like netip.Addr) netip.Addr {
	return v.client.Addrs[slices.IndexFunc(v.client.Addrs, func(a netip.Addr) bool { return a.Is4() == like.Is4() })]
}

// requireEcho asserts that a host echoes what is sent, by TCP and UDP.
func requireEcho(tb testing.TB, from *conformance.Stack, hosts ...netip.Addr) {
	tb.Helper()
	for _, host := range hosts {
		for _, network := range []string{"tcp", "udp"} {
			require.NoError(tb, exchange(tb.Context(), from, network, netip.AddrPortFrom(host, echoPort), guestPatience))
		}
	}
}

// answered sends a message on a connection, and reports whether it comes back.
func answered(ctx context.Context, conn net.Conn, patience time.Duration) bool {
	message, answer := []byte("still there?"), make([]byte, 12)
	if _, err := conn.Write(message); err != nil || ctx.Err() != nil {
		return false
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(conn, answer)
	return err == nil && bytes.Equal(message, answer)
}
