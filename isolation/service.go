package isolation

import (
	"encoding"
	"fmt"
	"strconv"
	"strings"
)

// Protocol is an upper-layer protocol by its IANA number, but for [ICMP], which stands for ICMP in IPv4 and for ICMPv6 in
// IPv6, and [Any]. As text it is "any", "tcp", "udp", "icmp" or the number.
type Protocol uint8

// Protocols that have names.
const (
	// Any matches every protocol.
	Any Protocol = 0
	// ICMP matches protocol 1 in IPv4 and 58 in IPv6.
	ICMP Protocol = 1
	// TCP is protocol 6.
	TCP Protocol = 6
	// UDP is protocol 17.
	UDP Protocol = 17
)

var (
	_ encoding.TextMarshaler   = Protocol(0)
	_ encoding.TextUnmarshaler = (*Protocol)(nil)
	_ encoding.TextMarshaler   = PortRange{}
	_ encoding.TextUnmarshaler = (*PortRange)(nil)
)

// String returns the name of p, or its number in decimal.
func (p Protocol) String() string {
	switch p {
	case Any:
		return "any"
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return strconv.Itoa(int(p))
}

// MarshalText is String.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText accepts what String returns, in any case of letters, and numbers from 1 to 255 but for 58.
func (p *Protocol) UnmarshalText(text []byte) error {
	switch s := strings.ToLower(string(text)); s {
	case "any":
		*p = Any
	case "icmp":
		*p = ICMP
	case "tcp":
		*p = TCP
	case "udp":
		*p = UDP
	default:
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || n == 0 {
			return fmt.Errorf("isolation: protocol %.40q: use any, tcp, udp, icmp or a number from 1 to 255", text)
		}
		*p = Protocol(n)
	}
	if problem := p.problem(); problem != "" {
		return fmt.Errorf("isolation: protocol %s", problem)
	}
	return nil
}

// problem is empty for a protocol that a rule may name. ICMPv6 has no number of its own here, so that a rule for ICMP
// cannot hold for one family and not for the other.
func (p Protocol) problem() string {
	if p == icmpv6 {
		return "58 is ICMPv6: use icmp, which covers both families"
	}
	return ""
}

// icmpv6 is what [Protocol] values never are; see protocolOf.
const icmpv6 Protocol = 58

// protocolOf returns the protocol that a packet's protocol number means in its IP version. ICMP's number in IPv6, and
// ICMPv6's in IPv4, mean nothing, and become the one number that no rule can name.
func protocolOf(version, number uint8) Protocol {
	switch {
	case version == 6 && number == uint8(icmpv6):
		return ICMP
	case version == 6 && number == uint8(ICMP):
		return icmpv6
	}
	return Protocol(number)
}

func (p Protocol) hasPorts() bool { return p == TCP || p == UDP }

// PortRange is a range of destination ports, First to Last with both ends, 1 to 65535. As text it is "443" or
// "8000-8080".
type PortRange struct {
	First, Last uint16
}

// Port is the range of one port.
func Port(port uint16) PortRange { return PortRange{First: port, Last: port} }

// Contains reports whether port is in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// String returns the range as "443" or "8000-8080".
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText is String.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText accepts what String returns.
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, ranged := strings.Cut(string(text), "-")
	if !ranged {
		last = first
	}
	a, errFirst := strconv.ParseUint(first, 10, 16)
	b, errLast := strconv.ParseUint(last, 10, 16)
	got := PortRange{First: uint16(a), Last: uint16(b)}
	if errFirst != nil || errLast != nil || got.problem() != "" {
		return fmt.Errorf(`isolation: ports %.40q: use a port from 1 to 65535 or a range such as "8000-8080"`, text)
	}
	*r = got
	return nil
}

func (r PortRange) problem() string {
	switch {
	case r.First == 0:
		return fmt.Sprintf("%d-%d: ports start at 1", r.First, r.Last)
	case r.First > r.Last:
		return fmt.Sprintf("%d-%d: the first port is above the last", r.First, r.Last)
	}
	return ""
}
