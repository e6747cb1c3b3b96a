package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// stockTUN is an exit as one would write it with tun/netstack of wireguard-go as a model: its device, line by line (one packet
// at a time, an unbuffered hand-off, a channel endpoint without segmentation offload, the stack's own defaults with SACK), in
// promiscuous and spoofing mode, with gVisor's forwarders and io.Copy to sockets of the host.
type stockTUN struct {
	ep       *channel.Endpoint
	stack    *stack.Stack
	events   chan tun.Event
	notify   *channel.NotificationHandle
	incoming chan *buffer.View
	mtu      int
	once     sync.Once
	closed   chan struct{}
}

const stockNIC tcpip.NICID = 1

func newStockTUN(mtu int) (*stockTUN, error) {
	t := &stockTUN{
		ep: channel.New(1024, uint32(mtu), ""),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		events: make(chan tun.Event, 10), incoming: make(chan *buffer.View), mtu: mtu, closed: make(chan struct{}),
	}
	sack := tcpip.TCPSACKEnabled(true)
	if err := t.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return nil, fmt.Errorf("enable SACK: %s", err)
	}
	t.notify = t.ep.AddNotify(t)
	if err := t.stack.CreateNIC(stockNIC, t.ep); err != nil {
		return nil, fmt.Errorf("create the interface: %s", err)
	}
	if err := t.stack.SetPromiscuousMode(stockNIC, true); err != nil {
		return nil, fmt.Errorf("promiscuous mode: %s", err)
	}
	if err := t.stack.SetSpoofing(stockNIC, true); err != nil {
		return nil, fmt.Errorf("spoofing: %s", err)
	}
	t.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: stockNIC}, {Destination: header.IPv6EmptySubnet, NIC: stockNIC},
	})
	const inFlight = 2048
	t.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(t.stack, 0, inFlight, forwardTCP).HandlePacket)
	t.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(t.stack, forwardUDP).HandlePacket)
	t.events <- tun.EventUp
	return t, nil
}

func forwardTCP(r *tcp.ForwarderRequest) {
	host, err := net.DialTimeout("tcp", place(r.ID()), 10*time.Second)
	if err != nil {
		r.Complete(true)
		return
	}
	defer host.Close()
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	r.Complete(terr != nil)
	if terr != nil {
		return
	}
	guest := gonet.NewTCPConn(&queue, ep)
	defer guest.Close()
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(host, guest) // its end is the connection's
		_ = host.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(guest, host)
	_ = guest.CloseWrite()
	<-up
}

func forwardUDP(r *udp.ForwarderRequest) bool {
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		return true
	}
	guest := gonet.NewUDPConn(&queue, ep)
	go func() {
		defer guest.Close()
		host, err := new(net.Dialer).DialContext(context.Background(), "udp", place(r.ID()))
		if err != nil {
			return
		}
		defer host.Close()
		go copyDatagrams(guest, host)
		copyDatagrams(host, guest)
	}()
	return true
}

// copyDatagrams ends both when one has been idle.
func copyDatagrams(to, from net.Conn) {
	const idle = 30 * time.Second
	defer to.Close()
	for buf := make([]byte, 1<<16); ; {
		_ = from.SetReadDeadline(time.Now().Add(idle))
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		_, _ = to.Write(buf[:n]) // lost like any datagram
	}
}

func place(id stack.TransportEndpointID) string {
	addr, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	return netip.AddrPortFrom(addr, id.LocalPort).String()
}

func (t *stockTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case view := <-t.incoming:
		n, err := view.Read(bufs[0][offset:])
		if err != nil {
			return 0, err
		}
		sizes[0] = n
		return 1, nil
	case <-t.closed:
		return 0, os.ErrClosed
	}
}

func (t *stockTUN) Write(bufs [][]byte, offset int) (int, error) {
	for _, buf := range bufs {
		packet := buf[offset:]
		if len(packet) == 0 {
			continue
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		switch packet[0] >> 4 {
		case 4:
			t.ep.InjectInbound(header.IPv4ProtocolNumber, pkt)
		case 6:
			t.ep.InjectInbound(header.IPv6ProtocolNumber, pkt)
		default:
			return 0, syscall.EAFNOSUPPORT
		}
	}
	return len(bufs), nil
}

// WriteNotify hands one packet of the stack over.
func (t *stockTUN) WriteNotify() {
	pkt := t.ep.Read()
	if pkt == nil {
		return
	}
	view := pkt.ToView()
	pkt.DecRef()
	select {
	case t.incoming <- view:
	case <-t.closed:
	}
}

func (t *stockTUN) File() *os.File           { return nil }
func (t *stockTUN) MTU() (int, error)        { return t.mtu, nil }
func (t *stockTUN) Name() (string, error)    { return "stock", nil }
func (t *stockTUN) Events() <-chan tun.Event { return t.events }
func (t *stockTUN) BatchSize() int           { return 1 }

func (t *stockTUN) Close() error {
	t.once.Do(func() {
		close(t.closed)
		t.stack.Close()
		t.ep.RemoveNotify(t.notify)
		t.ep.Close()
		close(t.events)
	})
	return nil
}
