package userspace

import (
	"encoding/binary"
	"math/rand/v2"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/shaping"
)

// receiver makes packets for a peer of what the host sends on one flow, several at a time. UDP that fits in one packet does not go
// through the stack, which would take a route, a buffer and a call for each.
type receiver struct {
	*datagrams
	flow *datagramFlow

	headers  []byte // of each packet, IP and UDP; nil where the stack makes them
	pseudo   uint16 // the sum of the pseudo-header, without the length (RFC 768, RFC 8200)
	hash     uint32
	id       uint16 // of the next packet of IPv4
	packets  []*shaping.Packet
	received int // since the last deliver, by the stack as well
}

// init builds the headers that all packets of the flow have.
func (r *receiver) init() {
	key := r.flow.key
	if key.network != networkUDP {
		return
	}
	answer := datagramKey{network: key.network, source: key.destination, destination: key.source}
	r.headers = quoteUDP(answer)
	r.id = uint16(rand.Uint32())
	src, dst := tcpip.AddrFromSlice(answer.source.Addr().AsSlice()), tcpip.AddrFromSlice(answer.destination.Addr().AsSlice())
	r.pseudo = header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, 0)
	r.hash = flowHash(r.headers)
}

// take makes a packet of a datagram, or has the stack make it, and deliver it at once.
func (r *receiver) take(payload []byte) {
	r.received++
	size := len(r.headers) + len(payload)
	if r.headers == nil || size > r.dp.fixed.MTU {
		r.flush() // before it, as they came
		r.datagrams.deliver(r.flow, payload)
		return
	}
	pkt := r.dp.path.NewPacket(size)
	copy(pkt.Data[copy(pkt.Data, r.headers):], payload)
	r.finish(pkt.Data)
	pkt.Flow = r.hash
	r.packets = append(r.packets, pkt)
}

// finish writes what of the headers is each packet's own: lengths, the identification of IPv4 (RFC 6864), checksums.
func (r *receiver) finish(b []byte) {
	udp := b[len(r.headers)-header.UDPMinimumSize:]
	if b[0]>>4 == 4 {
		ip := header.IPv4(b)
		ip.SetTotalLength(uint16(len(b)))
		ip.SetID(r.id)
		r.id++
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		header.IPv6(b).SetPayloadLength(uint16(len(udp)))
	}
	length := uint16(len(udp))
	binary.BigEndian.PutUint16(udp[udpLength:], length)
	sum := ^checksum.Checksum(udp, checksum.Combine(r.pseudo, length))
	if sum == 0 {
		sum = 0xffff // 0 would say that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[udpChecksum:], sum)
}

// deliver sends the packets on, and returns how many datagrams came since the last time.
func (r *receiver) deliver() int {
	r.flush()
	n := r.received
	r.received = 0
	return n
}

func (r *receiver) flush() {
	if len(r.packets) > 0 {
		r.dp.path.FromNet(r.packets)
		clear(r.packets)
		r.packets = r.packets[:0]
	}
}
