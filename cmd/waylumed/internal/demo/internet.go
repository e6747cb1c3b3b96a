package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/wgnode/userspace"
)

const (
	networkTCP = "tcp"
	networkUDP = "udp"
)

// place is where a server is reached, as a peer sees it.
type place struct {
	network string
	addr    netip.AddrPort
}

// site is a server on the loopback that stands at a place of the internet.
type site struct {
	place
	host netip.AddrPort // where it really listens

	visits  atomic.Int64  // connections accepted, or datagrams received
	packets atomic.Uint64 // datagrams received
	bytes   atomic.Uint64 // bytes of applications received
	asked   atomic.Int64  // how often the node asked to be connected
}

// internet maps addresses that peers dial to servers on the loopback. It is the node's way out: what it does not know
// is refused, so that nothing leaves the machine.
type internet struct {
	ctx  context.Context //nolint:containedctx // servers live until close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	sites map[place]*site
}

func newInternet() *internet {
	ctx, stop := context.WithCancel(context.Background())
	return &internet{ctx: ctx, stop: stop, sites: make(map[place]*site)}
}

// close stops the servers and joins them.
func (n *internet) close() {
	n.stop()
	n.wg.Wait()
}

// dial is the node's dialer hook.
func (n *internet) dial(ctx context.Context, flow userspace.Flow) (net.Conn, error) {
	n.mu.Lock()
	s := n.sites[place{flow.Network, flow.Destination}]
	n.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("no server at %s %s: %w", flow.Network, flow.Destination, syscall.ECONNREFUSED)
	}
	s.asked.Add(1)
	var d net.Dialer
	return d.DialContext(ctx, s.network, s.host.String())
}

func (n *internet) add(s *site) *site {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !s.addr.IsValid() {
		s.addr = s.host // it stands for itself
	}
	n.sites[s.place] = s
	return s
}

// serveTCP opens a server at addr; an invalid addr puts it where it really listens. Each connection is closed when serve
// returns, and when the internet closes.
func (n *internet) serveTCP(addr netip.AddrPort, serve func(*site, net.Conn)) (*site, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a server on the loopback: %w", err)
	}
	s := &site{place: place{networkTCP, addr}, host: l.Addr().(*net.TCPAddr).AddrPort()}
	n.wg.Go(func() {
		defer context.AfterFunc(n.ctx, func() { _ = l.Close() })()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.visits.Add(1)
			n.wg.Go(func() {
				defer c.Close()
				defer context.AfterFunc(n.ctx, func() { _ = c.Close() })()
				serve(s, c)
			})
		}
	})
	return n.add(s), nil
}

// serveUDP opens a server at addr, which handles one datagram after the other.
func (n *internet) serveUDP(addr netip.AddrPort, handle func(*site, net.PacketConn, net.Addr, []byte)) (*site, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a server on the loopback: %w", err)
	}
	s := &site{place: place{networkUDP, addr}, host: c.LocalAddr().(*net.UDPAddr).AddrPort()}
	n.wg.Go(func() {
		defer context.AfterFunc(n.ctx, func() { _ = c.Close() })()
		buf := make([]byte, 1<<16)
		for {
			size, from, err := c.ReadFrom(buf)
			if err != nil {
				if n.ctx.Err() != nil {
					return
				}
				continue // a datagram that could not be delivered to someone who has left
			}
			s.visits.Add(1)
			s.packets.Add(1)
			s.bytes.Add(uint64(size))
			handle(s, c, from, buf[:size])
		}
	})
	return n.add(s), nil
}

// greeting is what a server that is there says.
const greeting = "waylume\n"

// greet is a server that says that it is there.
func greet(_ *site, c net.Conn) {
	_, _ = io.WriteString(c, greeting)
}

// source is a server that sends for as long as it is read.
func source(_ *site, c net.Conn) {
	chunk := make([]byte, 64<<10)
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// sink is a server that reads all there is.
func sink(s *site, c net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		s.bytes.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// ignore is a server that takes datagrams.
func ignore(*site, net.PacketConn, net.Addr, []byte) {}

// echo sends each datagram back.
func echo(_ *site, c net.PacketConn, from net.Addr, b []byte) {
	_, _ = c.WriteTo(b, from)
}

// flood is a server that answers a datagram with a stream of them, size bytes each, at a rate of bit/s of IPv4 packets,
// for as long as it is open and at most for the given time.
func (n *internet) flood(rate uint64, size int, longest time.Duration) func(*site, net.PacketConn, net.Addr, []byte) {
	return func(_ *site, c net.PacketConn, from net.Addr, _ []byte) {
		n.wg.Go(func() {
			ctx, cancel := context.WithTimeout(n.ctx, longest)
			defer cancel()
			pace(ctx, rate, size, func(b []byte) error {
				_, err := c.WriteTo(b, from)
				return err
			})
		})
	}
}

// udpHeaders are the bytes of the headers of UDP over IPv4.
const udpHeaders = packet.IPv4HeaderLen + packet.UDPHeaderLen

// pace sends datagrams at a rate of bit/s of IPv4 packets until the context ends or sending fails.
func pace(ctx context.Context, rate uint64, size int, send func([]byte) error) {
	const tick = 5 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	b := make([]byte, size)
	perSecond := float64(rate) / 8 / float64(size+udpHeaders)
	for began, sent := time.Now(), 0; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			// After a pause it goes on at the rate and does not make up for it, which would be a burst.
			due := int(now.Sub(began).Seconds() * perSecond)
			if behind := due - sent; behind > int(perSecond/10) {
				sent = due - int(perSecond/10)
			}
			for ; sent < due; sent++ {
				if send(b) != nil {
					return
				}
			}
		}
	}
}

// alive proves that a server is there and answers, by visiting it from the host.
func (s *site) alive(ctx context.Context) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, s.network, s.host.String())
	if err != nil {
		return err
	}
	defer c.Close()
	return converse(ctx, s.network, c)
}

// converse gets a server to say its greeting: one over TCP says it unasked, and one over UDP repeats it.
func converse(ctx context.Context, network string, c net.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	if network == networkUDP {
		if _, err := io.WriteString(c, greeting); err != nil {
			return err
		}
	}
	b := make([]byte, len(greeting))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != greeting {
		return fmt.Errorf("a server said %q where %q was due", b, greeting)
	}
	return nil
}
