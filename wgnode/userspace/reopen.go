package userspace

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/waylume/waylume/internal/packet"
)

// reopen ends a connection in TIME-WAIT whose peer opens another one with the same ports (RFC 1122, section 4.2.2.13): the stack hands
// such a SYN on to a listener alone, and there is none. The sequence number is not compared with the former connection's, as
// an old duplicate cannot come through WireGuard, which lets each packet pass once.
func (t *tcpForwarder) reopen(raw []byte) {
	protocol, id, ok := opening(raw)
	if !ok {
		return
	}
	ep, ok := t.dp.stack.FindTransportEndpoint(protocol, tcp.ProtocolNumber, id, nicID).(*tcp.Endpoint)
	if ok && ep.EndpointState() == tcp.StateTimeWait {
		ep.Abort() // its reset acknowledges nothing that the new connection sent, so that the peer passes over it
	}
}

// opening reads the addresses and ports of a packet that asks for a connection, as the stack knows them.
func opening(raw []byte) (tcpip.NetworkProtocolNumber, stack.TransportEndpointID, bool) {
	var id stack.TransportEndpointID
	var protocol tcpip.NetworkProtocolNumber
	var segment []byte
	switch {
	case len(raw) >= packet.IPv4HeaderLen && raw[0]>>4 == 4 && header.IPv4(raw).TransportProtocol() == header.TCPProtocolNumber:
		ip := header.IPv4(raw)
		if ip.FragmentOffset() != 0 || int(ip.HeaderLength()) > len(raw) {
			return 0, id, false
		}
		protocol, segment = protocolIPv4, raw[ip.HeaderLength():]
		id.LocalAddress, id.RemoteAddress = ip.DestinationAddress(), ip.SourceAddress()
	case len(raw) >= packet.IPv6HeaderLen && raw[0]>>4 == 6 && tcpip.TransportProtocolNumber(header.IPv6(raw).NextHeader()) == header.TCPProtocolNumber:
		ip := header.IPv6(raw)
		protocol, segment = protocolIPv6, raw[packet.IPv6HeaderLen:]
		id.LocalAddress, id.RemoteAddress = ip.DestinationAddress(), ip.SourceAddress()
	default:
		return 0, id, false
	}
	if len(segment) < header.TCPMinimumSize ||
		header.TCP(segment).Flags()&(header.TCPFlagSyn|header.TCPFlagAck|header.TCPFlagRst) != header.TCPFlagSyn {
		return 0, id, false
	}
	id.RemotePort, id.LocalPort = binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])
	return protocol, id, true
}
