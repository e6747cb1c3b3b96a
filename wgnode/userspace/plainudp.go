package userspace

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
)

// Offsets in the header of UDP (RFC 768).
const (
	udpLength   = 4
	udpChecksum = 6
)

// handlePlain takes an ordinary datagram of a peer's past the stack, which would take three objects and two copies for it. It
// reports false for any other packet: one with options or extension headers, a fragment, one to several hosts, one whose lengths
// disagree. Those are the stack's.
func (d *datagrams) handlePlain(raw []byte) bool {
	key, payload, ok := plainUDP(raw)
	if ok {
		d.queue(key, len(payload), func(buf []byte) { copy(buf, payload) })
	}
	return ok
}

// plainUDP reads a packet of UDP that has nothing unusual.
func plainUDP(raw []byte) (key datagramKey, payload []byte, ok bool) {
	const (
		ipv4Plain     = 0x45   // version 4, a header of 20 bytes
		ipv4Fragment  = 0x3fff // more fragments, and the offset
		ipv4Total     = 2
		ipv4Flags     = 6
		ipv4Protocol  = 9
		ipv6Length    = 4
		ipv6NextField = 6
	)
	var src, dst netip.Addr
	var udp []byte
	switch {
	case len(raw) >= packet.IPv4HeaderLen && raw[0] == ipv4Plain && raw[ipv4Protocol] == byte(header.UDPProtocolNumber) &&
		binary.BigEndian.Uint16(raw[ipv4Flags:])&ipv4Fragment == 0 && int(binary.BigEndian.Uint16(raw[ipv4Total:])) == len(raw):
		src, dst = netip.AddrFrom4([4]byte(raw[12:16])), netip.AddrFrom4([4]byte(raw[16:20]))
		udp = raw[packet.IPv4HeaderLen:]
	case len(raw) >= packet.IPv6HeaderLen && raw[0]>>4 == 6 && raw[ipv6NextField] == byte(header.UDPProtocolNumber) &&
		int(binary.BigEndian.Uint16(raw[ipv6Length:])) == len(raw)-packet.IPv6HeaderLen:
		src, dst = netip.AddrFrom16([16]byte(raw[8:24])), netip.AddrFrom16([16]byte(raw[24:40]))
		udp = raw[packet.IPv6HeaderLen:]
	default:
		return datagramKey{}, nil, false
	}
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if dst.IsMulticast() || dst.IsUnspecified() || dst == broadcast || len(udp) < header.UDPMinimumSize {
		return datagramKey{}, nil, false
	}
	if length := int(binary.BigEndian.Uint16(udp[udpLength:])); length != len(udp) {
		return datagramKey{}, nil, false
	}
	key = datagramKey{
		network: networkUDP, source: netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp)),
		destination: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:])),
	}
	return key, udp[header.UDPMinimumSize:], true
}
