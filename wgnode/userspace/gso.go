package userspace

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/shaping"
)

// segments cuts one large TCP segment of the stack into packets of the connection's segment size (what a network card
// does for TSO) and appends them to pkts. Each gets a header of its own: lengths, the IPv4 identification counted up,
// sequence number, FIN and PSH on the last alone, CWR on the first alone (RFC 3168), and full checksums.
func (l *link) segments(pkts []*shaping.Packet, pkt *stack.PacketBuffer) []*shaping.Packet {
	var headers [header.IPv4MaximumHeaderSize + header.TCPHeaderMaximumSize]byte
	network, transport := pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	if len(network)+len(transport) > len(headers) {
		return pkts // longer than any header that the stack builds
	}
	n := copy(headers[:], network)
	n += copy(headers[n:], transport)
	payload := payloadReader{slices: pkt.AsSlices(), skip: n}
	left, mss := pkt.Data().Size(), max(int(pkt.GSOOptions.MSS), 1)
	for index := 0; left > 0 || index == 0; index++ {
		size := min(left, mss)
		left -= size
		out := l.newPacket(n + size)
		copy(out.Data, headers[:n])
		payload.read(out.Data[n:])
		finishSegment(out.Data, len(network), index, index*mss, left == 0)
		pkts = append(pkts, out)
	}
	if len(pkts) > 0 {
		hash := flowHash(pkts[len(pkts)-1].Data)
		for i := len(pkts) - 1; i >= 0 && pkts[i].Flow == 0; i-- {
			pkts[i].Flow = hash
		}
	}
	return pkts
}

// finishSegment makes a copied header right for the index-th segment, which starts offset bytes into the payload.
func finishSegment(b []byte, networkLen, index, offset int, last bool) {
	var pseudo uint16
	tcp := b[networkLen:]
	if b[0]>>4 == 4 {
		ip := header.IPv4(b)
		ip.SetTotalLength(uint16(len(b)))
		ip.SetID(ip.ID() + uint16(index))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
		pseudo = header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)))
	} else {
		ip := header.IPv6(b)
		ip.SetPayloadLength(uint16(len(b) - header.IPv6MinimumSize))
		pseudo = header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)))
	}
	binary.BigEndian.PutUint32(tcp[tcpSequence:], binary.BigEndian.Uint32(tcp[tcpSequence:])+uint32(offset))
	if !last {
		tcp[tcpFlags] &^= byte(header.TCPFlagFin | header.TCPFlagPsh)
	}
	if index > 0 {
		tcp[tcpFlags] &^= byte(header.TCPFlagCwr)
	}
	binary.BigEndian.PutUint16(tcp[tcpChecksum:], 0)
	binary.BigEndian.PutUint16(tcp[tcpChecksum:], ^checksum.Checksum(tcp, pseudo))
}

// payloadReader reads on through the slices of a packet buffer, after the bytes to skip.
type payloadReader struct {
	slices [][]byte
	skip   int
}

func (r *payloadReader) read(b []byte) {
	for len(b) > 0 && len(r.slices) > 0 {
		s := r.slices[0]
		if r.skip >= len(s) {
			r.skip -= len(s)
			r.slices = r.slices[1:]
			continue
		}
		n := copy(b, s[r.skip:])
		r.skip += n
		b = b[n:]
	}
}

// flowHash is the hash of a packet that the stack built, never 0.
func flowHash(b []byte) uint32 {
	var info packet.Info
	if info.Parse(b) != nil {
		return 1
	}
	return max(info.FlowHash(), 1)
}
