package isolation_test

import (
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
)

// The universe is small, so that rules, subjects and packets meet.

func someIDs() []string { return []string{"p0", "p1", "p2", "p3"} }

func someHost() []netip.Addr   { return addrs("10.0.0.1", "203.0.113.9", "fd00::1") }
func somePool() []netip.Prefix { return prefixes("10.0.0.0/8", "fd00::/64") }

func somePorts() []uint16 { return []uint16{1, 24, 25, 26, 53, 80, 8079, 8080, 65535} }

func peerAddrs() []netip.Addr {
	return addrs("10.0.0.2", "10.0.0.3", "10.0.0.4", "10.7.0.1", "192.168.7.7",
		"fd00::2", "fd00::3", "fd00::4", "2001:db8::77")
}

func otherAddrs() []netip.Addr {
	return addrs("10.0.0.1", "10.0.0.9", "198.51.100.80", "198.51.100.81", "203.0.113.9", "127.0.0.1", "192.168.1.1",
		"169.254.169.254", "0.0.0.1", "8.8.8.8",
		"fd00::1", "fd00::9", "2001:db8::80", "2001:db8::81", "::1", "::ffff:10.0.0.2", "64:ff9b::198.51.100.80",
		"64:ff9b::10.0.0.3", "2002::1", "2001:db8::5efe:a00:3", "ff02::1", "fe80::1")
}

func ofFamily(list []netip.Addr, of netip.Addr) []netip.Addr {
	return slices.DeleteFunc(list, func(a netip.Addr) bool { return a.Is4() != of.Is4() })
}

func genPrefix() *rapid.Generator[netip.Prefix] {
	return rapid.SampledFrom(prefixes("0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.0/30", "10.0.0.3/32", "fd00::/64",
		"fd00::2/127", "198.51.100.0/24", "198.51.100.80/32", "2001:db8::/32", "2001:db8::80/128", "127.0.0.0/8", "::1/128",
		"192.168.0.0/16", "169.254.169.254/32", "64:ff9b::/96", "64:ff9b::c633:6400/122", "203.0.113.9/32", "2002::/16"))
}

// maybe draws nil two times out of three.
func maybe[T any](t *rapid.T, g *rapid.Generator[T], label string) []T {
	if rapid.IntRange(0, 2).Draw(t, label+"?") > 0 {
		return nil
	}
	return rapid.SliceOfN(g, 1, 2).Draw(t, label)
}

func genMatch(side string) *rapid.Generator[isolation.Match] {
	return rapid.Custom(func(t *rapid.T) isolation.Match {
		m := isolation.Match{
			Peers:    maybe(t, rapid.SampledFrom(someIDs()), "peers"),
			Accounts: maybe(t, rapid.SampledFrom([]string{"a", "b"}), "accounts"),
			Prefixes: maybe(t, genPrefix(), "prefixes"),
		}
		if rapid.IntRange(0, 4).Draw(t, "labels?") == 0 {
			m.Labels = genLabels(1).Draw(t, "labels")
		}
		m.Internet = side == "to" && rapid.IntRange(0, 4).Draw(t, "internet") == 0
		return m
	})
}

func genLabels(atLeast int) *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom([]string{"k", "l"}), rapid.SampledFrom([]string{"x", "y", ""}), atLeast, 2)
}

func genRule() *rapid.Generator[isolation.Rule] {
	return rapid.Custom(func(t *rapid.T) isolation.Rule {
		r := isolation.Rule{
			From:     genMatch("from").Draw(t, "from"),
			To:       genMatch("to").Draw(t, "to"),
			Protocol: rapid.SampledFrom([]isolation.Protocol{isolation.Any, isolation.TCP, isolation.UDP, isolation.ICMP, 47}).Draw(t, "protocol"),
		}
		if r.Protocol == isolation.Any || r.Protocol == isolation.TCP || r.Protocol == isolation.UDP {
			r.Ports = maybe(t, rapid.Custom(func(t *rapid.T) isolation.PortRange {
				a, b := rapid.SampledFrom(somePorts()).Draw(t, "a"), rapid.SampledFrom(somePorts()).Draw(t, "b")
				return isolation.PortRange{First: min(a, b), Last: max(a, b)}
			}), "ports")
		}
		return r
	})
}

func genPolicy() *rapid.Generator[isolation.Policy] {
	return rapid.Custom(func(t *rapid.T) isolation.Policy {
		return isolation.Policy{
			Allow: rapid.SliceOfN(genRule(), 0, 4).Draw(t, "allow"),
			Deny:  rapid.SliceOfN(genRule(), 0, 2).Draw(t, "deny"),
		}
	})
}

func genSubject(addresses []netip.Addr) *rapid.Generator[isolation.Subject] {
	return rapid.Custom(func(t *rapid.T) isolation.Subject {
		return isolation.Subject{
			ID:      rapid.SampledFrom(someIDs()).Draw(t, "id"),
			Account: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "account"),
			Labels:  genLabels(0).Draw(t, "labels"),
			Addrs:   rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 1, 3, rapid.ID).Draw(t, "addrs"),
		}
	})
}

// genPacket draws a packet between addresses of one family, from near src and to near dst.
func genPacket(t *rapid.T, srcs, dsts []netip.Addr) pkt {
	p := pkt{src: rapid.SampledFrom(srcs).Draw(t, "src")}
	p.dst = rapid.SampledFrom(ofFamily(dsts, p.src)).Draw(t, "dst")
	genTransport(t, &p)
	switch rapid.IntRange(0, 5).Draw(t, "fragment") {
	case 0:
		p = p.fragment(rapid.Uint32Range(1, 2).Draw(t, "id"), 0, true)
	case 1:
		p = p.fragment(rapid.Uint32Range(1, 2).Draw(t, "id"), 1480, rapid.Bool().Draw(t, "more"))
	}
	return p
}

func genTransport(t *rapid.T, p *pkt) {
	icmp := packet.ICMP
	if p.src.Is6() {
		icmp = packet.ICMPv6
	}
	p.proto = rapid.SampledFrom([]uint8{packet.TCP, packet.TCP, packet.UDP, packet.UDP, icmp, 47}).Draw(t, "proto")
	switch p.proto {
	case packet.TCP:
		p.flags = rapid.SampledFrom([]uint8{syn, syn | ack, ack, ack, fin | ack, rst}).Draw(t, "flags")
		fallthrough
	case packet.UDP:
		p.sport, p.dport = rapid.SampledFrom(somePorts()).Draw(t, "sport"), rapid.SampledFrom(somePorts()).Draw(t, "dport")
	case packet.ICMP:
		p.kind = rapid.SampledFrom([]uint8{0, 8, 8, 5, 3, 11}).Draw(t, "kind")
	case packet.ICMPv6:
		p.kind = rapid.SampledFrom([]uint8{128, 128, 129, 137, 1, 2}).Draw(t, "kind")
	}
	if p.kind == 0 && p.proto == packet.ICMP || p.kind == 8 || p.kind == 128 || p.kind == 129 {
		p.echo = rapid.Uint16Range(1, 2).Draw(t, "echo")
	}
}
