package isolation_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/waylume/waylume/internal/packet"
)

// pkt describes a packet in a test. The zero value of a field is what a packet has by default.
type pkt struct {
	src, dst       netip.Addr
	proto          uint8 // as in the header; 0 in quotes and elsewhere is not used
	sport, dport   uint16
	flags          uint8 // TCP
	kind, code     uint8 // ICMP
	echo           uint16
	offset         uint16 // of a fragment, in bytes
	more           bool
	fragID         uint32
	quote          *pkt   // what an ICMP error quotes
	quoteRaw       []byte // instead of quote
	noRaw, corrupt bool   // Check gets no raw packet; the quote is cut
}

const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, addr(s))
	}
	return out
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, prefix(s))
	}
	return out
}

func tcp(src, dst string, sport, dport uint16, flags uint8) pkt {
	return pkt{src: addr(src), dst: addr(dst), proto: packet.TCP, sport: sport, dport: dport, flags: flags}
}

func udp(src, dst string, sport, dport uint16) pkt {
	return pkt{src: addr(src), dst: addr(dst), proto: packet.UDP, sport: sport, dport: dport}
}

// icmp takes the types of IPv4; those of IPv6 it translates.
func icmp(src, dst string, kind, code uint8, echo uint16) pkt {
	p := pkt{src: addr(src), dst: addr(dst), proto: packet.ICMP, kind: kind, code: code, echo: echo}
	if p.src.Is6() {
		p.proto = packet.ICMPv6
		p.kind = map[uint8]uint8{0: 129, 8: 128, 3: 1, 11: 3, 12: 4}[kind]
		if kind == 3 && code == 4 { // too big
			p.kind, p.code = 2, 0
		}
	}
	return p
}

func (p pkt) String() string {
	s := fmt.Sprintf("protocol %d %v:%d to %v:%d", p.proto, p.src, p.sport, p.dst, p.dport)
	if p.proto == packet.TCP {
		s += fmt.Sprintf(" flags %#x", p.flags)
	}
	if p.kind|p.code != 0 || p.echo != 0 || p.proto == packet.ICMP {
		s += fmt.Sprintf(" ICMP %d/%d id %d", p.kind, p.code, p.echo)
	}
	if p.fragmented() {
		s += fmt.Sprintf(" fragment %d at %d more %t", p.fragID, p.offset, p.more)
	}
	if p.quote != nil {
		s += fmt.Sprintf(" about (%v) noRaw %t corrupt %t", p.quote, p.noRaw, p.corrupt)
	}
	return s
}

func (p pkt) about(q pkt) pkt { p.quote = &q; return p }

func (p pkt) fragment(id uint32, offset uint16, more bool) pkt {
	p.fragID, p.offset, p.more = id, offset, more
	return p
}

func (p pkt) fragmented() bool { return p.offset > 0 || p.more }

// bytes builds the packet.
func (p pkt) bytes() []byte {
	body := p.transport()
	if p.offset > 0 {
		body = make([]byte, 16)
	} else if p.more {
		body = slices.Concat(body, make([]byte, (8-len(body)%8)%8))
	}
	if p.src.Is4() {
		b := make([]byte, packet.IPv4HeaderLen)
		b[0] = 0x45
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(body)))
		binary.BigEndian.PutUint16(b[4:], uint16(p.fragID))
		binary.BigEndian.PutUint16(b[6:], p.offset/8)
		if p.more {
			b[6] |= 0x20
		}
		b[9] = p.proto
		copy(b[12:], p.src.AsSlice())
		copy(b[16:], p.dst.AsSlice())
		return slices.Concat(b, body)
	}
	next := p.proto
	if p.fragmented() {
		ext := make([]byte, 8)
		ext[0] = p.proto
		binary.BigEndian.PutUint16(ext[2:], p.offset)
		if p.more {
			ext[3] |= 1
		}
		binary.BigEndian.PutUint32(ext[4:], p.fragID)
		next, body = 44, slices.Concat(ext, body)
	}
	b := make([]byte, packet.IPv6HeaderLen)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	b[6] = next
	copy(b[8:], p.src.AsSlice())
	copy(b[24:], p.dst.AsSlice())
	return slices.Concat(b, body)
}

func (p pkt) transport() []byte {
	switch p.proto {
	case packet.TCP:
		b := make([]byte, packet.TCPHeaderLen)
		binary.BigEndian.PutUint16(b, p.sport)
		binary.BigEndian.PutUint16(b[2:], p.dport)
		b[12], b[13] = 0x50, p.flags
		return b
	case packet.UDP:
		b := make([]byte, packet.UDPHeaderLen)
		binary.BigEndian.PutUint16(b, p.sport)
		binary.BigEndian.PutUint16(b[2:], p.dport)
		b[5] = 8
		return b
	case packet.ICMP, packet.ICMPv6:
		b := make([]byte, packet.ICMPHeaderLen)
		b[0], b[1] = p.kind, p.code
		binary.BigEndian.PutUint16(b[4:], p.echo)
		quote := p.quoteRaw
		if p.quote != nil {
			quote = p.quote.bytes()
			if p.corrupt {
				quote = quote[:len(quote)/2]
			}
		}
		return slices.Concat(b, quote)
	}
	return make([]byte, 8)
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// parse builds and parses the packet.
func (p pkt) parse(t failer) (packet.Info, []byte) {
	t.Helper()
	raw := p.bytes()
	var info packet.Info
	if err := info.Parse(raw); err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	if p.noRaw {
		raw = nil
	}
	return info, raw
}
