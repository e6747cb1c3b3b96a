package crashtest

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	// headers are those of a datagram over IPv4: what a packet has beside its payload.
	headers = header.IPv4MinimumSize + header.UDPMinimumSize
	// labelSize is how much of a payload says whose it is, and whether it is to be answered.
	labelSize  = 5
	maxPayload = 1200
)

// far is the server on the internet.
var far = netip.MustParseAddrPort("192.0.2.10:9000")

// newPacket is a datagram from a peer to the far server with a payload of zeros behind its label.
func newPacket(from netip.Addr, port uint16, flow uint32, answer bool, payload int) []byte {
	packet := make([]byte, headers+payload)
	data := packet[headers:]
	binary.BigEndian.PutUint32(data, flow)
	if answer {
		data[labelSize-1] = 1
	}
	src, dst := tcpip.AddrFrom4(from.As4()), tcpip.AddrFrom4(far.Addr().As4())
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(packet)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: src, DstAddr: dst,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(packet[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: port, DstPort: far.Port(), Length: uint16(len(udp))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(len(udp)))
	udp.SetChecksum(^udp.CalculateChecksum(checksum.Checksum(data, sum)))
	return packet
}

// label reads whose a payload is, and whether it is to be answered.
func label(payload []byte) (flow uint32, answer, ok bool) {
	if len(payload) < labelSize {
		return 0, false, false
	}
	return binary.BigEndian.Uint32(payload), payload[labelSize-1] == 1, true
}

func isDatagram(packet []byte) bool {
	return len(packet) >= headers && packet[0] == 0x45 && header.IPv4(packet).TransportProtocol() == header.UDPProtocolNumber
}

// isQuestion reports whether a packet is one to the far server, and isAnswer one from it.
func isQuestion(packet []byte) bool {
	return isDatagram(packet) && header.IPv4(packet).DestinationAddress() == tcpip.AddrFrom4(far.Addr().As4())
}

func isAnswer(packet []byte) bool {
	return isDatagram(packet) && header.IPv4(packet).SourceAddress() == tcpip.AddrFrom4(far.Addr().As4())
}

// turn makes of a datagram the one that goes back with the same payload: checksums stay right, as they are sums.
func turn(packet []byte) {
	ip, udp := header.IPv4(packet), header.UDP(packet[header.IPv4MinimumSize:])
	src, dst := ip.SourceAddress(), ip.DestinationAddress()
	ip.SetSourceAddress(dst)
	ip.SetDestinationAddress(src)
	port := udp.SourcePort()
	udp.SetSourcePort(udp.DestinationPort())
	udp.SetDestinationPort(port)
}
