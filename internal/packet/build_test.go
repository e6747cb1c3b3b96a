package packet_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/waylume/waylume/internal/packet"
)

var (
	alice4 = netip.MustParseAddr("10.0.0.2")
	bob4   = netip.MustParseAddr("198.51.100.7")
	alice6 = netip.MustParseAddr("fd00::2")
	bob6   = netip.MustParseAddr("2001:db8::7")
)

// ipv4 puts a header of 20 bytes and options in front of a payload; fragment is the field of flags and offset.
func ipv4(proto uint8, fragment uint16, options, payload []byte) []byte {
	header := packet.IPv4HeaderLen + len(options)
	b := make([]byte, header)
	b[0] = 4<<4 | uint8(header/4)
	binary.BigEndian.PutUint16(b[2:], uint16(header+len(payload)))
	binary.BigEndian.PutUint16(b[4:], 0xbeef)
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = 64, proto
	copy(b[12:], alice4.AsSlice())
	copy(b[16:], bob4.AsSlice())
	copy(b[20:], options)
	return slices.Concat(b, payload)
}

func ipv6(next uint8, payload []byte) []byte {
	b := make([]byte, packet.IPv6HeaderLen)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6], b[7] = next, 64
	copy(b[8:], alice6.AsSlice())
	copy(b[24:], bob6.AsSlice())
	return slices.Concat(b, payload)
}

// extension is an extension header of size units of 8 bytes more than the first.
func extension(next, units, third uint8, payload []byte) []byte {
	b := make([]byte, (int(units)+1)*8)
	b[0], b[1], b[3] = next, units, third
	return slices.Concat(b, payload)
}

// fragment6 is a fragment header; offset is in bytes.
func fragment6(next uint8, offset uint16, more bool, payload []byte) []byte {
	b := make([]byte, 8)
	b[0] = next
	binary.BigEndian.PutUint16(b[2:], offset)
	if more {
		b[3] |= 1
	}
	binary.BigEndian.PutUint32(b[4:], 0xdeadbeef)
	return slices.Concat(b, payload)
}

func tcp(flags uint8, payload ...byte) []byte {
	b := make([]byte, packet.TCPHeaderLen)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 443)
	b[12], b[13] = 5<<4, flags
	return slices.Concat(b, payload)
}

func udp(payload ...byte) []byte {
	b := make([]byte, packet.UDPHeaderLen)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 53)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)+len(payload)))
	return slices.Concat(b, payload)
}

func icmp(kind, code uint8, id uint16, payload ...byte) []byte {
	b := make([]byte, packet.ICMPHeaderLen)
	b[0], b[1] = kind, code
	binary.BigEndian.PutUint16(b[4:], id)
	return slices.Concat(b, payload)
}

// with returns a copy of b with one byte changed.
func with(b []byte, at int, value uint8) []byte {
	b = slices.Clone(b)
	b[at] = value
	return b
}

func mustParse(t testing.TB, b []byte) packet.Info {
	t.Helper()
	var p packet.Info
	if err := p.Parse(b); err != nil {
		t.Fatalf("parse %x: %v", b, err)
	}
	return p
}
