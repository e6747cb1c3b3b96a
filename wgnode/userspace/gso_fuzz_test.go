package userspace

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/shaping"
)

// FuzzSegments compares what the link cuts with what a plain segmenter makes of the same segment, byte by byte.
func FuzzSegments(f *testing.F) {
	f.Add(false, uint16(1340), uint8(0), uint8(3), uint8(header.TCPFlagAck|header.TCPFlagPsh), uint32(1<<32-1000), uint16(65530), uint16(1000), make([]byte, 5000))
	f.Add(true, uint16(1), uint8(0), uint8(10), uint8(header.TCPFlagFin|header.TCPFlagCwr), uint32(7), uint16(0), uint16(1), []byte("odd"))
	f.Add(false, uint16(88), uint8(10), uint8(0), uint8(255), uint32(0), uint16(9), uint16(0), []byte{})
	l := newLink(testMTU, func(n int) *shaping.Packet { return &shaping.Packet{Data: make([]byte, n)} }, nil)
	f.Fuzz(func(t *testing.T, v6 bool, mss uint16, ipWords, tcpWords, flags uint8, sequence uint32, id, view uint16, payload []byte) {
		const most = 100 // segments
		if len(payload) > min(gsoMaxSize-header.TCPTotalHeaderMaximumSize, most*int(mss)) {
			return // the stack makes no larger ones
		}
		network := plainNetwork(v6, 4*int(ipWords%11), id)
		transport := plainTransport(4*int(tcpWords%11), flags, sequence)
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: len(network) + len(transport), Payload: inViews(payload, int(view)+1),
		})
		defer pkt.DecRef()
		copy(pkt.TransportHeader().Push(len(transport)), transport)
		copy(pkt.NetworkHeader().Push(len(network)), network)
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, MSS: mss}
		var got [][]byte
		for _, out := range l.segments(nil, pkt) {
			got = append(got, out.Data)
		}
		want := plainSegments(network, transport, payload, max(int(mss), 1))
		if !slices.EqualFunc(want, got, bytes.Equal) {
			require.Equal(t, want, got)
		}
	})
}

// inViews is a payload in parts of so many bytes, as the stack keeps what it was given in several writes.
func inViews(payload []byte, size int) (b buffer.Buffer) {
	for ; len(payload) > 0; payload = payload[min(size, len(payload)):] {
		_ = b.Append(buffer.NewViewWithData(payload[:min(size, len(payload))])) // never fails
	}
	return b
}

// plainNetwork is an IP header with options of zeros, its lengths and checksum not set.
func plainNetwork(v6 bool, options int, id uint16) []byte {
	if v6 {
		b := make([]byte, 40)
		b[0], b[6], b[7], b[8], b[23], b[24], b[39] = 0x60, 6, 64, 0x20, 1, 0xfd, 2
		return b
	}
	b := make([]byte, 20+options)
	b[0], b[8], b[9] = 0x40|byte(len(b)/4), 64, 6
	copy(b[12:], []byte{192, 0, 2, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(b[4:], id)
	return b
}

// plainTransport is a TCP header with options that do nothing, its checksum not set.
func plainTransport(options int, flags uint8, sequence uint32) []byte {
	b := make([]byte, 20+options)
	binary.BigEndian.PutUint16(b, 80)
	binary.BigEndian.PutUint16(b[2:], 4000)
	binary.BigEndian.PutUint32(b[4:], sequence)
	b[12], b[13] = byte(len(b)/4)<<4, flags
	for i := 20; i < len(b); i++ {
		b[i] = 1
	}
	return b
}

// plainSegments does what a network card does for TSO, one step after the other, with nothing of ours.
func plainSegments(network, transport, payload []byte, mss int) (segments [][]byte) {
	const fin, push, cwr = 0x01, 0x08, 0x80
	for offset := 0; offset == 0 || offset < len(payload); offset += mss {
		part := payload[offset:min(offset+mss, len(payload))]
		tcp := append(append([]byte{}, transport...), part...)
		binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(transport[4:])+uint32(offset))
		if offset > 0 {
			tcp[13] &^= cwr
		}
		if offset+len(part) < len(payload) {
			tcp[13] &^= fin | push
		}
		ip := append([]byte{}, network...)
		var pseudo []byte
		if ip[0]>>4 == 4 {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(tcp)))
			binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(network[4:])+uint16(offset/mss))
			binary.BigEndian.PutUint16(ip[10:], plainChecksum(ip))
			pseudo = append(pseudo, ip[12:20]...)
		} else {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
			pseudo = append(pseudo, ip[8:40]...)
		}
		pseudo = append(binary.BigEndian.AppendUint32(pseudo, uint32(len(tcp))), 0, 0, 0, 6)
		binary.BigEndian.PutUint16(tcp[16:], plainChecksum(append(pseudo, tcp...)))
		segments = append(segments, append(ip, tcp...))
	}
	return segments
}

// plainChecksum is the internet checksum (RFC 1071, section 4.1).
func plainChecksum(b []byte) uint16 {
	var sum uint32
	for i, octet := range b {
		if i%2 == 0 {
			sum += uint32(octet) << 8
		} else {
			sum += uint32(octet)
		}
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
