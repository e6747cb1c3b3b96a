package userspace

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/shaping"
)

// Offsets in the header of an ICMP and an ICMPv6 message alike (RFC 792, RFC 4443).
const (
	icmpType     = 0
	icmpCode     = 1
	icmpChecksum = 2
	icmpID       = 4
)

// quotedTransport is how much of the upper-layer header an ICMP error quotes at least (RFC 792): the ports are in it.
const quotedTransport = 8

// asEchoReply makes an echo reply from the host into one for the peer, in place: the identifier that the peer chose, and
// a checksum for it. It returns 0 for a message that is no echo reply.
func asEchoReply(f *datagramFlow, message []byte, local, remote tcpip.Address) tcpip.TransportProtocolNumber {
	if len(message) < header.ICMPv4MinimumSize {
		return 0
	}
	binary.BigEndian.PutUint16(message[icmpID:], f.key.source.Port())
	binary.BigEndian.PutUint16(message[icmpChecksum:], 0)
	if f.key.source.Addr().Is4() {
		if message[icmpType] != byte(header.ICMPv4EchoReply) {
			return 0
		}
		binary.BigEndian.PutUint16(message[icmpChecksum:], ^checksum.Checksum(message, 0))
		return header.ICMPv4ProtocolNumber
	}
	if message[icmpType] != byte(header.ICMPv6EchoReply) {
		return 0
	}
	pseudo := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, local, remote, uint16(len(message)))
	binary.BigEndian.PutUint16(message[icmpChecksum:], ^checksum.Checksum(message, pseudo))
	return header.ICMPv6ProtocolNumber
}

// unreachable tells the peer what the host's network said of a datagram of flow f.
func (d *datagrams) unreachable(f *datagramFlow, err error) {
	verdict := classify(err)
	if verdict == dialSilent || f.key.network == networkICMP {
		return
	}
	d.dp.sendUnreachable(quoteUDP(f.key), verdict)
}

// sendUnreachable sends the peer an ICMP error about the packet that quote begins.
func (dp *Dataplane) sendUnreachable(quote []byte, verdict dialVerdict) {
	var about packet.Info
	if !quotable(quote, &about) {
		return
	}
	from := about.Dst // only the destination itself refuses; a router says the rest
	if gateway, ok := dp.gateway(about.Src); ok && verdict != dialRefused {
		from = gateway
	}
	b := buildUnreachable(quote, from, about.Src, verdict)
	pkt := dp.path.NewPacket(len(b))
	copy(pkt.Data, b)
	pkt.Flow = flowHash(b)
	dp.path.FromNet([]*shaping.Packet{pkt})
}

// quotable reads the addresses of a quoted header, whose packet is cut off behind it.
func quotable(quote []byte, info *packet.Info) bool {
	switch {
	case len(quote) >= packet.IPv4HeaderLen && quote[0]>>4 == 4:
		info.Version = 4
		info.Src, info.Dst = netip.AddrFrom4([4]byte(quote[12:16])), netip.AddrFrom4([4]byte(quote[16:20]))
	case len(quote) >= packet.IPv6HeaderLen && quote[0]>>4 == 6:
		info.Version = 6
		info.Src, info.Dst = netip.AddrFrom16([16]byte(quote[8:24])), netip.AddrFrom16([16]byte(quote[24:40]))
	default:
		return false
	}
	return true
}

// buildUnreachable builds a whole ICMP (RFC 792, RFC 1812) or ICMPv6 (RFC 4443) destination unreachable.
func buildUnreachable(quote []byte, from, to netip.Addr, verdict dialVerdict) []byte {
	src, dst := tcpip.AddrFromSlice(from.AsSlice()), tcpip.AddrFromSlice(to.AsSlice())
	if to.Is4() {
		b := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize+len(quote))
		ip := header.IPv4(b)
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(b)), TTL: defaultTTL, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: src, DstAddr: dst,
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		message := b[header.IPv4MinimumSize:]
		message[icmpType], message[icmpCode] = byte(header.ICMPv4DstUnreachable), map[dialVerdict]byte{
			dialRefused: byte(header.ICMPv4PortUnreachable), dialHostUnreachable: byte(header.ICMPv4HostUnreachable),
			dialNetUnreachable: byte(header.ICMPv4NetUnreachable), dialProhibited: byte(header.ICMPv4AdminProhibited),
		}[verdict]
		copy(message[header.ICMPv4MinimumSize:], quote)
		binary.BigEndian.PutUint16(message[icmpChecksum:], ^checksum.Checksum(message, 0))
		return b
	}
	b := make([]byte, header.IPv6MinimumSize+header.ICMPv6DstUnreachableMinimumSize+len(quote))
	message := b[header.IPv6MinimumSize:]
	header.IPv6(b).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(message)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: defaultTTL, SrcAddr: src, DstAddr: dst,
	})
	message[icmpType], message[icmpCode] = byte(header.ICMPv6DstUnreachable), map[dialVerdict]byte{
		dialRefused: byte(header.ICMPv6PortUnreachable), dialHostUnreachable: byte(header.ICMPv6AddressUnreachable),
		dialNetUnreachable: byte(header.ICMPv6NetworkUnreachable), dialProhibited: byte(header.ICMPv6Prohibited),
	}[verdict]
	copy(message[header.ICMPv6DstUnreachableMinimumSize:], quote)
	pseudo := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, src, dst, uint16(len(message)))
	binary.BigEndian.PutUint16(message[icmpChecksum:], ^checksum.Checksum(message, pseudo))
	return b
}

// quoteUDP builds the headers of a datagram that the peer sent on a flow. The payload is gone by the time the network
// complains; a receiver finds its socket by addresses and ports.
func quoteUDP(key datagramKey) []byte {
	src, dst := tcpip.AddrFromSlice(key.source.Addr().AsSlice()), tcpip.AddrFromSlice(key.destination.Addr().AsSlice())
	udp := header.UDPFields{SrcPort: key.source.Port(), DstPort: key.destination.Port(), Length: header.UDPMinimumSize}
	if key.source.Addr().Is4() {
		b := make([]byte, header.IPv4MinimumSize+header.UDPMinimumSize)
		ip := header.IPv4(b)
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(b)), TTL: defaultTTL, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: src, DstAddr: dst,
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		header.UDP(b[header.IPv4MinimumSize:]).Encode(&udp)
		return b
	}
	b := make([]byte, header.IPv6MinimumSize+header.UDPMinimumSize)
	header.IPv6(b).Encode(&header.IPv6Fields{
		PayloadLength: header.UDPMinimumSize, TransportProtocol: header.UDPProtocolNumber, HopLimit: defaultTTL, SrcAddr: src, DstAddr: dst,
	})
	header.UDP(b[header.IPv6MinimumSize:]).Encode(&udp)
	return b
}
