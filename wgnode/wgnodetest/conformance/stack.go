package conformance

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// stackNIC is the stack's one interface.
const stackNIC tcpip.NICID = 1

// stackQueue is how many packets wait for the wire; more than a window of TCP.
const stackQueue = 4096

// Stack is the network stack of one host of a rig. It is gVisor's, as in golang.zx2c4.com/wireguard/tun/netstack, but can be
// closed with connections open, takes addresses at any time, and has TCP without RACK: with it, a sender that loses many
// segments at once, as when its limit falls to a twentieth, recovers one of them in each time-out, for minutes.
type Stack struct {
	stack *stack.Stack
	wire  *channel.Endpoint
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// NewStack returns a stack with no address. What it sends is given to send, one packet at a time, which may wait and must
// not keep the packet.
func NewStack(mtu int, send func(packet []byte)) (*Stack, error) {
	s := &Stack{
		stack: stack.New(stack.Options{
			// A rig may have a stack stand for the node's own host.
			NetworkProtocols: []stack.NetworkProtocolFactory{
				ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}),
				ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true}),
			},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		}),
		wire: channel.New(stackQueue, uint32(mtu), ""),
	}
	sack, cubic, noRACK := tcpip.TCPSACKEnabled(true), tcpip.CongestionControlOption("cubic"), tcpip.TCPRecovery(0)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &cubic, &noRACK} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return nil, fmt.Errorf("set %T: %s", option, err)
		}
	}
	if err := s.stack.CreateNIC(stackNIC, s.wire); err != nil {
		return nil, fmt.Errorf("create the interface: %s", err)
	}
	s.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: stackNIC}, {Destination: header.IPv6EmptySubnet, NIC: stackNIC},
	})
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(func() { s.pump(ctx, send) })
	return s, nil
}

func (s *Stack) pump(ctx context.Context, send func([]byte)) {
	for {
		pkt := s.wire.ReadContext(ctx)
		if pkt == nil {
			return
		}
		view := pkt.ToView()
		pkt.DecRef()
		send(view.AsSlice())
		view.Release()
	}
}

// Close ends all connections and joins every goroutine.
func (s *Stack) Close() {
	s.stop()
	s.wg.Wait()
	s.stack.Destroy()
}

// AddAddr gives the host an address. Adding it again does nothing.
func (s *Stack) AddAddr(addr netip.Addr) error {
	address := tcpip.ProtocolAddress{
		Protocol: networkProtocol(addr), AddressWithPrefix: tcpip.AddrFromSlice(addr.AsSlice()).WithPrefix(),
	}
	switch err := s.stack.AddProtocolAddress(stackNIC, address, stack.AddressProperties{}); err.(type) {
	case nil, *tcpip.ErrDuplicateAddress:
		return nil
	default:
		return fmt.Errorf("add %s: %s", addr, err)
	}
}

// Inject delivers a packet to the host.
func (s *Stack) Inject(packet []byte) {
	if len(packet) == 0 {
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	defer pkt.DecRef()
	if packet[0]>>4 == 4 {
		s.wire.InjectInbound(header.IPv4ProtocolNumber, pkt)
	} else {
		s.wire.InjectInbound(header.IPv6ProtocolNumber, pkt)
	}
}

// ListenTCP listens at one of the host's addresses.
func (s *Stack) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	return gonet.ListenTCP(s.stack, fullAddress(addr), networkProtocol(addr.Addr()))
}

// ListenUDP opens a socket at one of the host's addresses.
func (s *Stack) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	at := fullAddress(addr)
	return gonet.DialUDP(s.stack, &at, nil, networkProtocol(addr.Addr()))
}

// Dial opens a connection from the host; network is "tcp" or "udp".
func (s *Stack) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	at := fullAddress(to)
	if network == "udp" {
		return gonet.DialUDP(s.stack, nil, &at, networkProtocol(to.Addr()))
	}
	return gonet.DialContextTCP(ctx, s.stack, at, networkProtocol(to.Addr()))
}

func fullAddress(addr netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: stackNIC, Addr: tcpip.AddrFromSlice(addr.Addr().AsSlice()), Port: addr.Port()}
}

func networkProtocol(addr netip.Addr) tcpip.NetworkProtocolNumber {
	if addr.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}
