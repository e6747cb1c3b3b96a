package wgnodetest

import (
	"encoding/binary"
	"net/netip"

	"github.com/waylume/waylume/internal/packet"
)

// hopLimit is what a peer's system puts into its packets.
const hopLimit = 64

// UDPPacket returns a whole IP packet with a datagram, as the device with the address src would send it. Both addresses
// are of one family.
func UDPPacket(src, dst netip.AddrPort, payload []byte) []byte {
	length := packet.UDPHeaderLen + len(payload)
	b := ipHeader(packet.UDP, src.Addr(), dst.Addr(), length)
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)
	b = append(b, payload...)
	sum := sumBytes(0, src.Addr().AsSlice())
	sum = sumBytes(sum, dst.Addr().AsSlice())
	sum += uint32(packet.UDP) + uint32(length)
	if sum = uint32(^fold(sumBytes(sum, b[start:]))); sum == 0 {
		sum = 0xffff // 0 would say that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(b[start+6:], uint16(sum))
	return b
}

// ipHeader returns the IP header of a packet with a payload of a length.
func ipHeader(protocol uint8, src, dst netip.Addr, length int) []byte {
	if src.Is4() {
		b := make([]byte, packet.IPv4HeaderLen, packet.IPv4HeaderLen+length)
		b[0], b[8], b[9] = 4<<4|packet.IPv4HeaderLen/4, hopLimit, protocol
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)+length))
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^fold(sumBytes(0, b)))
		return b
	}
	b := make([]byte, packet.IPv6HeaderLen, packet.IPv6HeaderLen+length)
	b[0], b[6], b[7] = 6<<4, protocol, hopLimit
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return b
}

// sumBytes adds to the internet checksum (RFC 1071).
func sumBytes(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// source and destination read an address of a packet that is long enough to have one; else they return the zero address,
// and the packet path says what is wrong.
func source(b []byte) netip.Addr      { return address(b, 12, 8) }
func destination(b []byte) netip.Addr { return address(b, 16, 24) }

func address(b []byte, in4, in6 int) netip.Addr {
	switch {
	case len(b) >= packet.IPv4HeaderLen && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[in4:]))
	case len(b) >= packet.IPv6HeaderLen && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[in6:]))
	}
	return netip.Addr{}
}

// flowHash is 0 for a packet that cannot be read; it goes nowhere.
func flowHash(b []byte) uint32 {
	var info packet.Info
	if info.Parse(b) != nil {
		return 0
	}
	return info.FlowHash()
}
