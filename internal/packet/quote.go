package packet

import (
	"encoding/binary"
	"net/netip"
)

// ParseQuoted reads the packet that an ICMP error quotes: b is what follows the error's 8 bytes of header. The quote may
// be cut off anywhere after the first 8 bytes of its upper-layer header (RFC 792), and other data may follow it (RFC
// 4884), so the lengths it states are not held against b; Length is the quoted packet's own. TCPFlags, which are rarely
// quoted, are not set. On an error p is not to be used.
func (p *Info) ParseQuoted(b []byte) error {
	*p = Info{}
	if len(b) == 0 {
		return ErrTruncated
	}
	var err error
	switch b[0] >> 4 {
	case 4:
		err = p.parseQuotedIPv4(b)
	case 6:
		err = p.parseQuotedIPv6(b)
	default:
		return ErrVersion
	}
	if err != nil || p.Fragment {
		return err
	}
	return p.parseQuotedTransport(b[p.Transport:])
}

func (p *Info) parseQuotedIPv4(b []byte) error {
	if len(b) < IPv4HeaderLen {
		return ErrTruncated
	}
	header := int(b[0]&0x0f) * 4
	length := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case header < IPv4HeaderLen:
		return ErrHeader
	case len(b) < header:
		return ErrTruncated
	case length < header:
		return ErrLength
	}
	return p.readIPv4(b, header, length)
}

func (p *Info) parseQuotedIPv6(b []byte) error {
	if len(b) < IPv6HeaderLen {
		return ErrTruncated
	}
	p.Version, p.Length = 6, IPv6HeaderLen+int(binary.BigEndian.Uint16(b[4:]))
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	return p.walkExtensions(b, b[6])
}

// quotedTransport is how much of the upper-layer header every ICMP error quotes, in bytes (RFC 792).
const quotedTransport = 8

func (p *Info) parseQuotedTransport(b []byte) error {
	switch p.Proto {
	case TCP, UDP:
		if len(b) < quotedTransport {
			return ErrTruncated
		}
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	case ICMP, ICMPv6:
		return p.parseTransport(b)
	}
	return nil
}
