package conformance

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
)

// tcpPacket is a whole IP packet with a TCP segment that carries no data.
func tcpPacket(src, dst netip.AddrPort, flags header.TCPFlags) []byte {
	tcp := header.TCP(make([]byte, header.TCPMinimumSize))
	tcp.Encode(&header.TCPFields{
		SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 1 << 15,
	})
	tcp.SetChecksum(^checksum.Checksum(tcp, pseudoHeader(header.TCPProtocolNumber, src.Addr(), dst.Addr(), len(tcp))))
	return ipPacket(uint8(header.TCPProtocolNumber), src.Addr(), dst.Addr(), tcp)
}

// echoRequest is a whole IP packet with an ICMP or ICMPv6 echo request.
func echoRequest(src, dst netip.Addr, id, sequence uint16) []byte {
	message := make([]byte, header.ICMPv4MinimumSize+8)
	binary.BigEndian.PutUint16(message[4:], id)
	binary.BigEndian.PutUint16(message[6:], sequence)
	if src.Is4() {
		icmp := header.ICMPv4(message)
		icmp.SetType(header.ICMPv4Echo)
		icmp.SetChecksum(^checksum.Checksum(message, 0))
		return ipPacket(uint8(header.ICMPv4ProtocolNumber), src, dst, message)
	}
	icmp := header.ICMPv6(message)
	icmp.SetType(header.ICMPv6EchoRequest)
	icmp.SetChecksum(^checksum.Checksum(message, pseudoHeader(header.ICMPv6ProtocolNumber, src, dst, len(message))))
	return ipPacket(uint8(header.ICMPv6ProtocolNumber), src, dst, message)
}

// isEchoReply reports whether a packet answers an echo request to a host.
func isEchoReply(pkt []byte, from netip.Addr, id uint16) bool {
	var info packet.Info
	if info.Parse(pkt) != nil || info.Src != from || info.ICMPID != id {
		return false
	}
	return info.Proto == packet.ICMP && header.ICMPv4Type(info.ICMPType) == header.ICMPv4EchoReply ||
		info.Proto == packet.ICMPv6 && header.ICMPv6Type(info.ICMPType) == header.ICMPv6EchoReply
}

// ipPacket puts an IP header before an upper-layer packet.
func ipPacket(protocol uint8, src, dst netip.Addr, transport []byte) []byte {
	if src.Is4() {
		pkt := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(transport))
		ip := header.IPv4(pkt)
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(pkt) + len(transport)), TTL: 64, Protocol: protocol,
			SrcAddr: tcpip.AddrFrom4(src.As4()), DstAddr: tcpip.AddrFrom4(dst.As4()),
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		return append(pkt, transport...)
	}
	pkt := make([]byte, header.IPv6MinimumSize, header.IPv6MinimumSize+len(transport))
	header.IPv6(pkt).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(transport)), TransportProtocol: tcpip.TransportProtocolNumber(protocol), HopLimit: 64,
		SrcAddr: tcpip.AddrFrom16(src.As16()), DstAddr: tcpip.AddrFrom16(dst.As16()),
	})
	return append(pkt, transport...)
}

func pseudoHeader(protocol tcpip.TransportProtocolNumber, src, dst netip.Addr, length int) uint16 {
	from, to := tcpip.AddrFromSlice(src.AsSlice()), tcpip.AddrFromSlice(dst.AsSlice())
	return header.PseudoHeaderChecksum(protocol, from, to, uint16(length))
}

// headerLen is the length of the IP header of a packet towards addr, without options.
func headerLen(addr netip.Addr) int {
	if addr.Is4() {
		return header.IPv4MinimumSize
	}
	return header.IPv6MinimumSize
}
