// Package datagram makes and reads the packets that crash tests have pass a node: UDP over IPv4, with a label that says whose each
// is.
package datagram

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	// Headers are those of a datagram over IPv4: what a packet has beside its payload, in bytes.
	Headers = header.IPv4MinimumSize + header.UDPMinimumSize
	// LabelSize is how much of a payload says whose it is, and whether it is to be answered, in bytes.
	LabelSize = 5
	// MaxPayload of a packet that passes every tunnel, in bytes.
	MaxPayload = 1200
)

// Far is the server on the internet.
var Far = netip.MustParseAddrPort("192.0.2.10:9000")

// New is a packet from a peer to the far server with a payload of zeros behind its label.
func New(from netip.Addr, port uint16, flow uint32, answer bool, payload int) []byte {
	packet := make([]byte, Headers+payload)
	data := packet[Headers:]
	binary.BigEndian.PutUint32(data, flow)
	if answer {
		data[LabelSize-1] = 1
	}
	src, dst := tcpip.AddrFrom4(from.As4()), tcpip.AddrFrom4(Far.Addr().As4())
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(packet)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: src, DstAddr: dst,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(packet[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: port, DstPort: Far.Port(), Length: uint16(len(udp))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(len(udp)))
	udp.SetChecksum(^udp.CalculateChecksum(checksum.Checksum(data, sum)))
	return packet
}

// Label reads whose a payload is, and whether it is to be answered.
func Label(payload []byte) (flow uint32, answer, ok bool) {
	if len(payload) < LabelSize {
		return 0, false, false
	}
	return binary.BigEndian.Uint32(payload), payload[LabelSize-1] == 1, true
}

// IsDatagram reports whether a packet is one of UDP over IPv4 without options.
func IsDatagram(packet []byte) bool {
	return len(packet) >= Headers && packet[0] == 0x45 && header.IPv4(packet).TransportProtocol() == header.UDPProtocolNumber
}

// IsQuestion reports whether a packet is a datagram to the far server.
func IsQuestion(packet []byte) bool {
	return IsDatagram(packet) && header.IPv4(packet).DestinationAddress() == tcpip.AddrFrom4(Far.Addr().As4())
}

// IsAnswer reports whether a packet is a datagram from the far server.
func IsAnswer(packet []byte) bool {
	return IsDatagram(packet) && header.IPv4(packet).SourceAddress() == tcpip.AddrFrom4(Far.Addr().As4())
}

// Turn makes of a datagram the one that goes back with the same payload: checksums stay right, as they are sums.
func Turn(packet []byte) {
	ip, udp := header.IPv4(packet), header.UDP(packet[header.IPv4MinimumSize:])
	src, dst := ip.SourceAddress(), ip.DestinationAddress()
	ip.SetSourceAddress(dst)
	ip.SetDestinationAddress(src)
	port := udp.SourcePort()
	udp.SetSourcePort(udp.DestinationPort())
	udp.SetDestinationPort(port)
}
