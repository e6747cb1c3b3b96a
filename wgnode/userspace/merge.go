package userspace

import (
	"bytes"
	"encoding/binary"
	"math"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/internal/packet"
)

// mergeReach is how many runs back a segment is compared with: as many connections of a batch can grow side by side.
const mergeReach = 16

// pieceSize bounds the buffers that a run is copied to, in bytes. The pools that they are from have sizes of powers of two: a whole one
// of 33 KiB would hold 64.
const pieceSize = 16 << 10

// merger joins TCP segments of a batch that continue one another, so that the stack takes a step for each run of them and not for
// each segment (generic receive offload, as in net/ipv4/tcp_offload.c of Linux). The packets of a connection keep their order.
type merger struct {
	runs []run
}

// run is a packet, or several segments that become one.
type run struct {
	segment
	payloads [][]byte        // of what has one
	size     int             // of all, with one set of headers
	next     uint32          // sequence number of what would continue it
	ends     header.TCPFlags // of all
	open     bool            // something may continue it
}

// add takes a packet, which is read until deliver returns.
func (m *merger) add(raw []byte) {
	s, ok := parseSegment(raw)
	if ok {
		for i := len(m.runs) - 1; i >= max(len(m.runs)-mergeReach, 0); i-- {
			if r := &m.runs[i]; r.sameFlow(&s) {
				if r.takes(&s) {
					r.join(&s)
					return
				}
				break
			}
		}
	}
	n := len(m.runs)
	if n == cap(m.runs) {
		m.runs = append(m.runs, run{})
	}
	m.runs = m.runs[:n+1] // the one that was there gives its slice
	m.runs[n] = run{segment: s, payloads: m.runs[n].payloads[:0], size: s.headers}
	if ok && s.plain() {
		m.runs[n].join(&s)
	}
}

// deliver hands what was added to the stack, and forgets it.
func (m *merger) deliver(to stack.NetworkDispatcher) {
	for i := range m.runs {
		r := &m.runs[i]
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: r.buffer()})
		protocol := protocolIPv4
		if r.raw[0]>>4 == 6 {
			protocol = protocolIPv6
		}
		pkt.NetworkProtocolNumber = protocol
		pkt.RXChecksumValidated = true
		to.DeliverNetworkPacket(protocol, pkt)
		pkt.DecRef()
		clear(r.payloads)
		r.raw = nil
	}
	m.runs = m.runs[:0]
}

// takes reports whether a segment of the same connection can be the next of the run: it differs in what counts up alone.
func (r *run) takes(s *segment) bool {
	const ends = header.TCPFlagFin | header.TCPFlagPsh
	const acknowledgement, window, urgent = 8, 14, 18
	a, b := r.tcp(), s.tcp()
	return r.open && s.plain() && r.next == s.sequence() && r.size+s.payload() <= math.MaxUint16 &&
		r.flags()&^ends == s.flags()&^ends && r.sameNetwork(s) &&
		[4]byte(a[acknowledgement:]) == [4]byte(b[acknowledgement:]) && [2]byte(a[window:]) == [2]byte(b[window:]) &&
		bytes.Equal(a[urgent:], b[urgent:])
}

// join has a segment end the run, and what follows it continue the run unless nothing can.
func (r *run) join(s *segment) {
	r.payloads = append(r.payloads, s.raw[s.headers:])
	r.size += s.payload()
	r.next = s.sequence() + uint32(s.payload())
	r.ends |= s.flags()
	r.open = !s.flags().Contains(header.TCPFlagFin)
}

// buffer is the run as one packet. Its headers are apart from the payload, since the stack copies what holds them where it shares a
// packet.
func (r *run) buffer() buffer.Buffer {
	if len(r.payloads) == 0 {
		return buffer.MakeWithData(r.raw)
	}
	headers := buffer.NewViewWithData(r.raw[:r.headers])
	b := headers.AsSlice()
	if r.network == packet.IPv4HeaderLen {
		header.IPv4(b).SetTotalLength(uint16(r.size))
	} else {
		header.IPv6(b).SetPayloadLength(uint16(r.size - packet.IPv6HeaderLen))
	}
	b[r.network+tcpFlags] |= byte(r.ends)
	whole := buffer.MakeWithView(headers)
	left, room := r.size-r.headers, 0
	var piece *buffer.View
	for _, p := range r.payloads {
		for len(p) > 0 {
			if room == 0 {
				room = min(left, pieceSize)
				piece = buffer.NewView(room)
			}
			n := min(len(p), room)
			_, _ = piece.Write(p[:n]) // there is room
			p, left, room = p[n:], left-n, room-n
			if room == 0 {
				_ = whole.Append(piece) // never fails
			}
		}
	}
	return whole
}

// Offsets in the header of TCP (RFC 9293, section 3.1).
const (
	tcpSequence = 4
	tcpFlags    = 13
	tcpChecksum = 16
)

// segment is a packet, of TCP if it is no fragment and has neither IPv4 options nor IPv6 extension headers.
type segment struct {
	raw     []byte
	network int // length of the IP header; 0 for any other packet
	headers int // of that and TCP's
}

// parseSegment reports false for any other packet.
func parseSegment(raw []byte) (segment, bool) {
	const ipv4Plain = 0x45 // version 4, a header of 20 bytes
	other := segment{raw: raw}
	var network int
	switch {
	case len(raw) >= packet.IPv4HeaderLen && raw[0] == ipv4Plain:
		ip := header.IPv4(raw)
		if ip.TransportProtocol() != header.TCPProtocolNumber || ip.More() || ip.FragmentOffset() != 0 || int(ip.TotalLength()) != len(raw) {
			return other, false
		}
		network = packet.IPv4HeaderLen
	case len(raw) >= packet.IPv6HeaderLen && raw[0]>>4 == 6:
		ip := header.IPv6(raw)
		if tcpip.TransportProtocolNumber(ip.NextHeader()) != header.TCPProtocolNumber || int(ip.PayloadLength()) != len(raw)-packet.IPv6HeaderLen {
			return other, false
		}
		network = packet.IPv6HeaderLen
	default:
		return other, false
	}
	if len(raw) < network+header.TCPMinimumSize {
		return other, false
	}
	headers := network + int(header.TCP(raw[network:]).DataOffset())
	if headers < network+header.TCPMinimumSize || headers > len(raw) {
		return other, false
	}
	return segment{raw: raw, network: network, headers: headers}, true
}

func (s *segment) payload() int { return len(s.raw) - s.headers }

// tcp is the transport header.
func (s *segment) tcp() header.TCP { return header.TCP(s.raw[s.network:s.headers]) }

func (s *segment) flags() header.TCPFlags { return header.TCPFlags(s.raw[s.network+tcpFlags]) }
func (s *segment) sequence() uint32 {
	return binary.BigEndian.Uint32(s.raw[s.network+tcpSequence:])
}

// plain reports whether the segment carries data and nothing special.
func (s *segment) plain() bool {
	return s.payload() > 0 && s.flags()&^(header.TCPFlagPsh|header.TCPFlagFin|header.TCPFlagEce) == header.TCPFlagAck
}

// sameFlow reports whether the segments are of one direction of one connection.
func (s *segment) sameFlow(other *segment) bool {
	if s.network != other.network || s.network == 0 || [4]byte(s.raw[s.network:]) != [4]byte(other.raw[s.network:]) {
		return false
	}
	addresses := 12
	if s.network == packet.IPv6HeaderLen {
		addresses = 8
	}
	return bytes.Equal(s.raw[addresses:s.network], other.raw[addresses:s.network])
}

// sameNetwork reports whether the IP headers of one flow agree but for lengths, identification and checksum.
func (s *segment) sameNetwork(other *segment) bool {
	a, b := s.raw, other.raw
	if s.network == packet.IPv4HeaderLen {
		return [2]byte(a) == [2]byte(b) && [4]byte(a[6:]) == [4]byte(b[6:]) // class; fragments, lifetime and protocol
	}
	return [4]byte(a) == [4]byte(b) && [2]byte(a[6:]) == [2]byte(b[6:]) // class and label; protocol and lifetime
}
