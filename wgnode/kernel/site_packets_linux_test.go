package kernel_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	packets "github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/wgnode"
)

func statsOf(key wgtypes.Key) wgnode.StatsQuery {
	return wgnode.StatsQuery{Peers: []wgtypes.Key{key}, Device: true}
}

// ipPacket puts an IP header before an upper-layer packet.
func ipPacket(protocol uint8, src, dst netip.Addr, transport []byte) []byte {
	if src.Is4() {
		ip := header.IPv4(make([]byte, header.IPv4MinimumSize))
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(ip) + len(transport)), TTL: 64, Protocol: protocol,
			SrcAddr: tcpip.AddrFrom4(src.As4()), DstAddr: tcpip.AddrFrom4(dst.As4()),
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		return append(ip, transport...)
	}
	ip := header.IPv6(make([]byte, header.IPv6MinimumSize))
	ip.Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(transport)), TransportProtocol: tcpip.TransportProtocolNumber(protocol), HopLimit: 64,
		SrcAddr: tcpip.AddrFrom16(src.As16()), DstAddr: tcpip.AddrFrom16(dst.As16()),
	})
	return append(ip, transport...)
}

// pseudo is the sum of what comes before an upper-layer packet.
func pseudo(protocol tcpip.TransportProtocolNumber, src, dst netip.Addr, length int) uint16 {
	from, to := tcpip.AddrFromSlice(src.AsSlice()), tcpip.AddrFromSlice(dst.AsSlice())
	return header.PseudoHeaderChecksum(protocol, from, to, uint16(length))
}

// synPacket begins a connection; segment is the largest that it announces, or 0 for no word about it.
func synPacket(src, dst netip.AddrPort, segment uint16) []byte {
	tcp := header.TCP(make([]byte, header.TCPMinimumSize, header.TCPMinimumSize+header.TCPOptionMSSLength))
	if segment != 0 {
		tcp = append(tcp, header.TCPOptionMSS, header.TCPOptionMSSLength, byte(segment>>8), byte(segment))
	}
	tcp.Encode(&header.TCPFields{
		SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: 1, DataOffset: uint8(len(tcp)), Flags: header.TCPFlagSyn, WindowSize: 1 << 15,
	})
	tcp.SetChecksum(^checksum.Checksum(tcp, pseudo(header.TCPProtocolNumber, src.Addr(), dst.Addr(), len(tcp))))
	return ipPacket(packets.TCP, src.Addr(), dst.Addr(), tcp)
}

// segmentOf is the largest segment that a SYN announces, 0 if it announces none. The packet's checksum must be right.
func segmentOf(tb testing.TB, s seen) uint16 {
	tb.Helper()
	tcp := header.TCP(s.raw[s.Transport:])
	require.Equal(tb, uint16(0xffff), checksum.Checksum(tcp, pseudo(header.TCPProtocolNumber, s.Src, s.Dst, len(tcp))), "checksum")
	for options := tcp[header.TCPMinimumSize:tcp.DataOffset()]; len(options) > 0; {
		switch options[0] {
		case header.TCPOptionEOL:
			return 0
		case header.TCPOptionNOP:
			options = options[1:]
		case header.TCPOptionMSS:
			return binary.BigEndian.Uint16(options[2:])
		default:
			options = options[options[1]:]
		}
	}
	return 0
}

func udpPacket(src, dst netip.AddrPort, text string) []byte {
	udp := header.UDP(append(make([]byte, header.UDPMinimumSize), text...))
	udp.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(udp))})
	udp.SetChecksum(^checksum.Checksum(udp, pseudo(header.UDPProtocolNumber, src.Addr(), dst.Addr(), len(udp))))
	return ipPacket(packets.UDP, src.Addr(), dst.Addr(), udp)
}

// icmpPacket is a message of ICMP or ICMPv6: rest are the four bytes behind the checksum.
func icmpPacket(src, dst netip.Addr, kind, code uint8, rest [4]byte, body []byte) []byte {
	message := append([]byte{kind, code, 0, 0, rest[0], rest[1], rest[2], rest[3]}, body...)
	protocol, before := packets.ICMP, uint16(0)
	if src.Is6() {
		protocol, before = packets.ICMPv6, pseudo(header.ICMPv6ProtocolNumber, src, dst, len(message))
	}
	binary.BigEndian.PutUint16(message[2:], ^checksum.Checksum(message, before))
	return ipPacket(protocol, src, dst, message)
}

// echoRequest asks for an answer with the same identifier.
func echoRequest(src, dst netip.Addr, id uint16) []byte {
	kind := uint8(header.ICMPv4Echo)
	if src.Is6() {
		kind = uint8(header.ICMPv6EchoRequest)
	}
	return icmpPacket(src, dst, kind, 0, [4]byte{byte(id >> 8), byte(id), 0, 1}, []byte("ping"))
}

// tooBig is a router's word that a packet is larger than the next link, of mtu bytes, carries.
func tooBig(router netip.Addr, packet seen, mtu uint16) []byte {
	rest := [4]byte{2: byte(mtu >> 8), 3: byte(mtu)}
	if router.Is4() {
		const code = uint8(header.ICMPv4FragmentationNeeded)
		return icmpPacket(router, packet.Src, uint8(header.ICMPv4DstUnreachable), code, rest, packet.raw)
	}
	return icmpPacket(router, packet.Src, uint8(header.ICMPv6PacketTooBig), 0, rest, packet.raw)
}

// quoted is the packet that an ICMP error is about.
func quoted(tb testing.TB, s seen) (q packets.Info) {
	tb.Helper()
	require.True(tb, s.IsICMPError())
	require.NoError(tb, q.ParseQuoted(s.raw[s.Transport+packets.ICMPHeaderLen:]))
	return q
}
