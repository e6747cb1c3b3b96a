package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Reasons for which [Info.Parse] refuses a packet.
var (
	// ErrTruncated is returned when a header or the packet itself is longer than the bytes given.
	ErrTruncated = errors.New("packet: truncated")
	// ErrVersion is returned when the first four bits are neither 4 nor 6.
	ErrVersion = errors.New("packet: neither IPv4 nor IPv6")
	// ErrLength is returned when the length in the IP header disagrees with the bytes given.
	ErrLength = errors.New("packet: length field disagrees with the packet")
	// ErrHeader is returned for a header whose fields contradict each other, an extension chain that is too long, or a
	// source route (RFC 5095, RFC 7126), which no exit node should honour.
	ErrHeader = errors.New("packet: malformed header")
)

// Upper-layer protocol numbers (IANA) that the rest of Waylume treats by name.
const (
	ICMP   uint8 = 1
	TCP    uint8 = 6
	UDP    uint8 = 17
	ICMPv6 uint8 = 58
)

// Header lengths in bytes.
const (
	IPv4HeaderLen = 20
	IPv6HeaderLen = 40
	UDPHeaderLen  = 8
	TCPHeaderLen  = 20
	ICMPHeaderLen = 8
)

// maxExtensionHeaders bounds the walk along an IPv6 extension chain; RFC 8200 section 4.1 lists seven kinds, each of
// which should occur once.
const maxExtensionHeaders = 8

// Info is what Waylume looks at in a packet. The zero value is ready for Parse.
type Info struct {
	// Src and Dst are the addresses of the IP header; they are never IPv4-mapped unless the IPv6 header says so.
	Src, Dst netip.Addr
	// Length is the length of the whole IP packet in bytes, as its header states it: the "inner IP bytes" of quota.
	Length int
	// Transport is the offset of the upper-layer header in the packet.
	Transport int
	// SrcPort and DstPort are set for TCP and UDP, unless Fragment.
	SrcPort, DstPort uint16
	// ICMPID is the identifier of an ICMP echo request or reply.
	ICMPID uint16
	// FragmentID is the identification that fragments of one packet share; 0 in an IPv6 packet that is none.
	FragmentID uint32
	// Version is 4 or 6.
	Version uint8
	// Proto is the upper-layer protocol after any IPv6 extension headers.
	Proto uint8
	// ICMPType and ICMPCode are set for ICMP and ICMPv6, unless Fragment.
	ICMPType, ICMPCode uint8
	// TCPFlags are the flags of the TCP header, unless Fragment.
	TCPFlags uint8
	// Fragment reports a fragment other than the first: it carries no upper-layer header.
	Fragment bool
	// MoreFragments reports that another fragment follows.
	MoreFragments bool
}

// Parse reads the packet b, which starts with its IP header. On an error p is not to be used. Bytes after the length that
// the IP header states are an error: a tunnel carries one packet at a time.
func (p *Info) Parse(b []byte) error {
	*p = Info{}
	if len(b) == 0 {
		return ErrTruncated
	}
	var err error
	switch b[0] >> 4 {
	case 4:
		err = p.parseIPv4(b)
	case 6:
		err = p.parseIPv6(b)
	default:
		return ErrVersion
	}
	if err != nil || p.Fragment {
		return err
	}
	return p.parseTransport(b[p.Transport:])
}

func (p *Info) parseIPv4(b []byte) error {
	if len(b) < IPv4HeaderLen {
		return ErrTruncated
	}
	header := int(b[0]&0x0f) * 4
	if header < IPv4HeaderLen {
		return ErrHeader
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < header || len(b) < length {
		return ErrTruncated
	}
	if length != len(b) || length < header {
		return ErrLength
	}
	if header > IPv4HeaderLen && sourceRouted(b[IPv4HeaderLen:header]) {
		return ErrHeader
	}
	return p.readIPv4(b, header, length)
}

// readIPv4 reads an IPv4 header whose header and packet length were checked.
func (p *Info) readIPv4(b []byte, header, length int) error {
	p.Version, p.Proto, p.Length, p.Transport = 4, b[9], length, header
	p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	p.FragmentID = uint32(binary.BigEndian.Uint16(b[4:]))
	fragment := binary.BigEndian.Uint16(b[6:])
	return p.setFragment(int(fragment&0x1fff)*8, fragment&0x2000 != 0)
}

// setFragment notes a fragment's place, and refuses the offset of 8 bytes that would rewrite a TCP header's flags after
// they were checked (RFC 3128), a fragment that would end past the largest IP packet, and one that another follows though
// its length is not a multiple of 8 bytes (RFC 791, RFC 8200 section 4.5). In IPv6, where a later fragment may state
// another protocol than the first, and only the first's counts, the offset of 8 bytes is refused for all.
func (p *Info) setFragment(offset int, more bool) error {
	p.Fragment, p.MoreFragments = offset > 0, more
	payload := p.Length - p.Transport
	switch {
	case offset == 8 && (p.Proto == TCP || p.Version == 6):
		return ErrHeader
	case p.Fragment && offset+payload > 65535:
		return ErrHeader
	case more && payload%8 != 0:
		return ErrHeader
	}
	return nil
}

// sourceRouted reports whether IPv4 options hold a loose (131) or strict (137) source route, or do not parse.
func sourceRouted(options []byte) bool {
	for len(options) > 0 {
		switch options[0] {
		case 0: // end of options
			return false
		case 1: // no operation
			options = options[1:]
			continue
		case 131, 137:
			return true
		}
		if len(options) < 2 || int(options[1]) < 2 || int(options[1]) > len(options) {
			return true
		}
		options = options[options[1]:]
	}
	return false
}

// IPv6 extension headers (RFC 8200 section 4) that an upper-layer header can stand behind.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
)

func (p *Info) parseIPv6(b []byte) error {
	if len(b) < IPv6HeaderLen {
		return ErrTruncated
	}
	length := IPv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if len(b) < length {
		return ErrTruncated
	}
	if len(b) != length {
		return ErrLength
	}
	p.Version, p.Length = 6, length
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	return p.walkExtensions(b, b[6])
}

// walkExtensions finds the upper-layer header behind the extension headers, the first of which is of the kind next.
func (p *Info) walkExtensions(b []byte, next uint8) error {
	offset := IPv6HeaderLen
	for range maxExtensionHeaders {
		switch next {
		case extHopByHop, extRouting, extDestination:
			if len(b) < offset+8 {
				return ErrTruncated
			}
			size := (int(b[offset+1]) + 1) * 8
			if len(b) < offset+size {
				return ErrTruncated
			}
			// Type 0 source routes are forbidden (RFC 5095); a route with segments left asks us to forward elsewhere.
			if next == extRouting && b[offset+3] != 0 {
				return ErrHeader
			}
			next, offset = b[offset], offset+size
		case extFragment:
			if len(b) < offset+8 {
				return ErrTruncated
			}
			field := binary.BigEndian.Uint16(b[offset+2:])
			p.Proto, p.Transport = b[offset], offset+8
			p.FragmentID = binary.BigEndian.Uint32(b[offset+4:])
			if err := p.setFragment(int(field&^7), field&1 != 0); err != nil {
				return err
			}
			next, offset = b[offset], offset+8
			if !p.Fragment && !p.MoreFragments {
				continue
			}
			// With options behind the fragment header, later fragments could rewrite the ports, and state no protocol.
			if next == extHopByHop || next == extRouting || next == extFragment || next == extDestination {
				return ErrHeader
			}
			return nil
		default:
			p.Proto, p.Transport = next, offset
			return nil
		}
	}
	return ErrHeader
}

func (p *Info) parseTransport(b []byte) error {
	switch p.Proto {
	case TCP:
		if len(b) < TCPHeaderLen {
			return ErrTruncated
		}
		if size := int(b[12]>>4) * 4; size < TCPHeaderLen || size > len(b) && !p.MoreFragments {
			return ErrHeader
		}
		p.TCPFlags = b[13]
	case UDP:
		if len(b) < UDPHeaderLen {
			return ErrTruncated
		}
		size := int(binary.BigEndian.Uint16(b[4:]))
		if size < UDPHeaderLen || size > len(b) && !p.MoreFragments {
			return ErrHeader
		}
	case ICMP, ICMPv6:
		if len(b) < ICMPHeaderLen {
			return ErrTruncated
		}
		p.ICMPType, p.ICMPCode = b[0], b[1]
		if p.IsEchoRequest() || p.IsEchoReply() {
			p.ICMPID = binary.BigEndian.Uint16(b[4:])
		}
		return nil
	default:
		return nil
	}
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return nil
}

// IsEchoRequest reports an ICMP (RFC 792) or ICMPv6 (RFC 4443) echo request.
func (p *Info) IsEchoRequest() bool {
	return !p.Fragment && (p.Proto == ICMP && p.Version == 4 && p.ICMPType == 8 || p.Proto == ICMPv6 && p.Version == 6 && p.ICMPType == 128)
}

// IsEchoReply reports an ICMP or ICMPv6 echo reply.
func (p *Info) IsEchoReply() bool {
	return !p.Fragment && (p.Proto == ICMP && p.Version == 4 && p.ICMPType == 0 || p.Proto == ICMPv6 && p.Version == 6 && p.ICMPType == 129)
}

// IsICMPError reports an ICMP error that quotes the packet which caused it: unreachable, too big, time exceeded or
// parameter problem.
func (p *Info) IsICMPError() bool {
	switch {
	case p.Fragment:
		return false
	case p.Proto == ICMP && p.Version == 4:
		return p.ICMPType == 3 || p.ICMPType == 11 || p.ICMPType == 12
	case p.Proto == ICMPv6 && p.Version == 6:
		return p.ICMPType >= 1 && p.ICMPType <= 4
	}
	return false
}

// FlowHash is equal for all packets of one flow in one direction, so that a fair queue keeps their order. All fragments of
// a flow between two addresses share one value, whichever carries the ports.
func (p *Info) FlowHash() uint32 {
	src, dst := p.Src.As16(), p.Dst.As16()
	h := uint64(14695981039346656037)
	mix := func(v uint64) { h = (h ^ v) * 1099511628211; h ^= h >> 29 }
	mix(binary.BigEndian.Uint64(src[:8]))
	mix(binary.BigEndian.Uint64(src[8:]))
	mix(binary.BigEndian.Uint64(dst[:8]))
	mix(binary.BigEndian.Uint64(dst[8:]))
	mix(uint64(p.Proto))
	if !p.Fragment && !p.MoreFragments {
		mix(uint64(p.SrcPort)<<32 | uint64(p.DstPort)<<16 | uint64(p.ICMPID))
	}
	return uint32(h ^ h>>32)
}

// TCPData returns the sequence number of the first byte that a TCP segment carries (RFC 9293 section 3.1), and whether the packet b is
// one that carries any and begins no connection. It is for packets that Parse has let pass, or others of which it does not matter; and
// it looks behind no extension header of IPv6.
func TCPData(b []byte) (sequence uint32, ok bool) {
	if len(b) < IPv4HeaderLen {
		return 0, false
	}
	header, proto := int(b[0]&0x0f)*4, b[9]
	switch {
	case b[0]>>4 == 6:
		header, proto = IPv6HeaderLen, b[6]
	case binary.BigEndian.Uint16(b[6:])&0x1fff != 0: // a later fragment
		return 0, false
	}
	if proto != TCP || len(b) < header+TCPHeaderLen {
		return 0, false
	}
	const syn = 1 << 1
	segment := b[header:]
	return binary.BigEndian.Uint32(segment[4:]), len(segment) > int(segment[12]>>4)*4 && segment[13]&syn == 0
}
