package kernel_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// guestRig is a host with another firewall on it, and servers on the internet.
type guestRig struct {
	*rig
	ctx     context.Context
	servers []netip.AddrPort // that echo what comes by TCP and UDP
	other   netip.AddrPort   // one more
	away    func()           // takes the last peer's device away
	close   func() error     // closes the last node, and its dataplane
}

// guestPatience bounds the wait for what must come, and briefly the wait for what must not.
const (
	guestPatience = 20 * time.Second
	briefly       = 700 * time.Millisecond
)

func newGuestRig(t *testing.T, name string) *guestRig {
	t.Helper()
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	loadClosedGuest(t, name)
	g := &guestRig{rig: r, ctx: t.Context(), other: netip.MustParseAddrPort("198.51.100.20:7")}
	g.servers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.10:7"), netip.MustParseAddrPort("[2001:db8::10]:7")}
	for _, at := range append(g.servers, g.other) {
		l, err := r.ListenTCP(at)
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go serveEcho(l)
		g.echoUDP(t, at)
	}
	return g
}

// loadClosedGuest loads a firewall that forwards nothing for peers: firewalld does so in a zone without forwarding.
func loadClosedGuest(t *testing.T, name string) {
	t.Helper()
	loadGuest(t, name)
	if name == "firewalld" {
		output(t, "nft", "flush", "chain", "inet", "firewalld", "filter_FWD_public_allow")
	}
}

func serveEcho(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

func (g *guestRig) echoUDP(t *testing.T, at netip.AddrPort) {
	t.Helper()
	conn, err := g.ListenUDP(at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for buf := make([]byte, 100); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
}

// start starts a node with one peer, whose device it connects; the tunnel is up when it returns. The address
// is the peer's of IPv4.
func (g *guestRig) start(t *testing.T) (dp *kernel.Dataplane, peer *conformance.Stack, addr netip.Addr) {
	t.Helper()
	dp, err := kernel.New(g.cfg)
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{Endpoint: "127.0.0.1", Dataplane: dp, Store: wgnode.NewMemoryStore()})
	require.NoError(t, err)
	require.NoError(t, node.Start(g.ctx))
	g.close = sync.OnceValue(node.Close)
	closing := g.close
	t.Cleanup(func() { require.NoError(t, closing()) })
	added, err := node.AddPeer(g.ctx, wgnode.PeerSpec{Name: "peer"})
	require.NoError(t, err)
	cfg, err := node.ClientConfig(added.PublicKey, added.PrivateKey)
	require.NoError(t, err)
	cfg.Keepalive = time.Second
	dev := &guestDevice{mtu: cfg.MTU, out: make(chan []byte, 512), events: make(chan tun.Event), cut: make(chan struct{})}
	stack, err := conformance.NewStack(cfg.MTU, dev.send)
	require.NoError(t, err)
	dev.deliver = stack.Inject
	for _, a := range cfg.Addrs {
		require.NoError(t, stack.AddAddr(a))
		if a.Is4() {
			addr = a
		}
	}
	link, err := g.Connect(dev, cfg)
	require.NoError(t, err)
	g.away = sync.OnceFunc(func() {
		_ = link.Close()
		stack.Close()
	})
	t.Cleanup(g.away)
	require.Eventually(t, func() bool {
		stats, err := dp.Stats(g.ctx, wgnode.StatsQuery{Peers: []wgtypes.Key{added.PublicKey}, Device: true})
		return err == nil && len(stats.Peers) == 1 && !stats.Peers[0].LastHandshake.IsZero()
	}, guestPatience, 10*time.Millisecond)
	return dp, stack, addr
}

// exchange sends a message to an echo server until it comes back or the time is over.
func exchange(ctx context.Context, s *conformance.Stack, network string, to netip.AddrPort, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := s.Dial(ctx, network, to)
	if err != nil {
		return fmt.Errorf("%s %v: %w", network, to, err)
	}
	defer conn.Close()
	message, answer := []byte("are you there?"), make([]byte, 14)
	for ctx.Err() == nil {
		if _, err := conn.Write(message); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _ := io.ReadFull(conn, answer); n == len(answer) && bytes.Equal(message, answer) {
			return nil
		}
	}
	return fmt.Errorf("%s %v: %w", network, to, ctx.Err())
}

func (g *guestRig) requireOpen(t *testing.T, s *conformance.Stack) {
	t.Helper()
	for _, to := range g.servers {
		for _, network := range []string{"tcp", "udp"} {
			require.NoError(t, exchange(g.ctx, s, network, to, guestPatience))
		}
	}
}

// guestDevice is the TUN of a peer's device, with a network stack on it.
type guestDevice struct {
	mtu     int
	deliver func(packet []byte)
	out     chan []byte
	events  chan tun.Event
	cut     chan struct{}
	once    sync.Once
}

func (d *guestDevice) send(packet []byte) {
	select {
	case d.out <- bytes.Clone(packet):
	case <-d.cut:
	}
}

func (d *guestDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case packet := <-d.out:
		sizes[0] = copy(bufs[0][offset:], packet)
		return 1, nil
	case <-d.cut:
		return 0, os.ErrClosed
	}
}

func (d *guestDevice) Write(bufs [][]byte, offset int) (int, error) {
	for _, buf := range bufs {
		d.deliver(buf[offset:])
	}
	return len(bufs), nil
}

func (d *guestDevice) File() *os.File           { return nil }
func (d *guestDevice) MTU() (int, error)        { return d.mtu, nil }
func (d *guestDevice) Name() (string, error)    { return "peer", nil }
func (d *guestDevice) Events() <-chan tun.Event { return d.events }
func (d *guestDevice) BatchSize() int           { return 1 }

func (d *guestDevice) Close() error {
	d.once.Do(func() {
		close(d.cut)
		close(d.events)
	})
	return nil
}
