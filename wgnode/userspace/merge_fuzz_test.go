package userspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// delivered keeps what a stack would be given.
type delivered struct{ packets [][]byte }

func (d *delivered) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	d.packets = append(d.packets, pkt.Data().AsRange().ToSlice())
}

func (d *delivered) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {
	panic("no link has packets of its own here")
}

// FuzzRuns gives a merger packets of several connections with all that can differ between them, and compares what each connection
// brings, octet by octet with its number and the header that it came under, with what it would bring unmerged.
func FuzzRuns(f *testing.F) {
	f.Add([]byte{0, 100, 0, 100, 0, 100, 0, 30})
	f.Add([]byte{0, 255, 1, 255, 0, 255, 1, 255, 8, 9, 0, 9, 16, 3, 0, 3, 24, 3, 0, 3, 32, 3, 0, 3, 40, 3, 0, 3})
	f.Add([]byte{6, 90, 6, 90, 54, 90, 6, 90, 62, 90, 6, 90, 70, 9, 6, 9, 78, 9, 6, 9, 86, 9, 6, 9, 94, 9, 6, 9, 102, 9, 6, 9, 110, 9, 6, 9})
	f.Add([]byte{0, 9, 24, 0, 0, 9, 76, 0, 4, 9, 4, 9, 28, 0, 4, 9}) // what carries nothing keeps its place
	f.Fuzz(func(t *testing.T, steps []byte) {
		batch := mixedPackets(steps)
		var m merger
		for range 2 { // a merger is used again
			var got delivered
			for _, raw := range batch {
				m.add(raw)
			}
			m.deliver(&got)
			require.Empty(t, m.runs)
			require.LessOrEqual(t, len(got.packets), len(batch))
			require.Equal(t, unmerged(t, batch), unmerged(t, got.packets))
		}
	})
}

// mixedPackets makes a packet for each two octets: the connection and what is special about it, and its length.
func mixedPackets(steps []byte) (batch [][]byte) {
	var sequences [8]uint32
	for ; len(steps) >= 2; steps = steps[2:] {
		flow, special := steps[0]%8, steps[0]/8
		payload := make([]byte, int(steps[1])*8)
		for i := range payload {
			payload[i] = byte(len(batch) + i)
		}
		v6, options, flags := flow >= 4, 0, byte(0x10)
		sequence := sequences[flow]
		switch special {
		case 1:
			flags |= 0x08 // PSH
		case 2:
			flags |= 0x01 // FIN
		case 3:
			flags |= 0x04 // RST
		case 4:
			flags |= 0x80 // CWR
		case 5:
			sequence += 7
		case 6:
			options = 12
		case 7:
			flags = 0x02 // SYN
		case 8:
			flags |= 0x40 // ECE
		}
		tcp := plainTransport(options, flags, sequence)
		binary.BigEndian.PutUint16(tcp, 1000+uint16(flow%4))
		switch special {
		case 9:
			tcp[11]++ // acknowledgement
		case 10:
			tcp[15]++ // window
		case 11:
			tcp[12] = 0xf0 // a header longer than the packet
		case 12:
			tcp[19]++ // urgent pointer
		}
		ip := plainNetwork(v6, 0, uint16(len(batch)))
		switch special {
		case 13:
			ip[1] |= 0x03 // congestion experienced, or with IPv6 another flow label
		case 14:
			ip[8-len(ip)/40]++ // lifetime
		case 15:
			if !v6 {
				ip[6] |= 0x20 // more fragments
			}
		case 16:
			ip[9-3*(len(ip)/40)] = 17 // another protocol
		}
		batch = append(batch, plainSegments(ip, tcp, payload, len(payload)+1)[0])
		sequences[flow] += uint32(len(payload))
	}
	return batch
}

// span is what a connection brings under one header, lengths, checksums, identification, PSH and FIN aside.
type span struct {
	header   string
	sequence uint32
	payload  []byte
	end      bool
}

// unmerged is what packets bring, by connection: spans that continue one another are one.
func unmerged(t *testing.T, packets [][]byte) map[string][]span {
	all := make(map[string][]span)
	for _, raw := range packets {
		b := append([]byte{}, raw...)
		network, addresses, protocol := 20, b[12:20], b[9]
		if b[0]>>4 == 6 {
			network, addresses, protocol = 40, b[8:40], b[6]
			require.Len(t, b, 40+int(binary.BigEndian.Uint16(b[4:])))
		} else {
			require.Len(t, b, int(binary.BigEndian.Uint16(b[2:])))
		}
		if fragment := network == 20 && b[6]&0x20 != 0; protocol != 6 || fragment || len(b) < network+int(b[network+12]>>4)*4 {
			all["others"] = append(all["others"], span{header: string(b)})
			continue
		}
		flow := fmt.Sprintf("%x %x", addresses, b[network:network+4])
		sequence := binary.BigEndian.Uint32(b[network+4:])
		headers := network + int(b[network+12]>>4)*4
		payload, flags := b[headers:], b[network+13]
		if network == 20 {
			copy(b[2:6], []byte{0, 0, 0, 0})
			copy(b[10:12], []byte{0, 0})
		} else {
			copy(b[4:6], []byte{0, 0})
		}
		copy(b[network+4:network+8], []byte{0, 0, 0, 0})
		copy(b[network+16:network+18], []byte{0, 0})
		b[network+13] &^= 0x09
		next := span{header: string(b[:headers]), sequence: sequence, payload: payload, end: flags&0x01 != 0}
		if n := len(all[flow]); n > 0 && len(payload) > 0 {
			last := &all[flow][n-1]
			if last.header == next.header && last.sequence+uint32(len(last.payload)) == sequence && len(last.payload) > 0 && !last.end {
				last.payload, last.end = append(last.payload, payload...), next.end
				continue
			}
		}
		all[flow] = append(all[flow], next)
	}
	return all
}

// TestSegmentsAreJoined: what a sender cuts comes to the stack in one piece, beside another connection that does the same.
func TestSegmentsAreJoined(t *testing.T) {
	var steps []byte
	for range 30 {
		steps = append(steps, 0, 170, 5, 170) // 1,360 octets each, IPv4 and IPv6
	}
	var m merger
	for _, raw := range mixedPackets(append(steps, 8, 1)) { // the last one is pushed
		m.add(raw)
	}
	var got delivered
	m.deliver(&got)
	require.Len(t, got.packets, 2)
	require.Len(t, got.packets[0], 40+30*1360+8)
	require.Len(t, got.packets[1], 60+30*1360)
	require.Equal(t, byte(0x18), got.packets[0][20+13], "the push of the last one is kept")
	require.Equal(t, byte(0x10), got.packets[1][40+13])
}

// TestRunIsNotTooLong: a packet has at most 65,535 octets.
func TestRunIsNotTooLong(t *testing.T) {
	var m merger
	for _, raw := range mixedPackets(bytes.Repeat([]byte{0, 170}, 128)) {
		m.add(raw)
	}
	var got delivered
	m.deliver(&got)
	require.Len(t, got.packets, 3)
	for _, p := range got.packets[:2] {
		require.Len(t, p, 40+48*1360)
	}
}
