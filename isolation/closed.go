package isolation

import (
	"encoding/binary"
	"net/netip"
)

// Closure says what the default policy does with the addresses of a prefix that no longer prefix of the list covers.
type Closure struct {
	Prefix netip.Prefix
	// Reason is what a packet is refused for, or [ReasonInternet] for a prefix that is open inside a closed one.
	Reason Reason
}

// Open reports that the prefix is exempted from a closed one around it.
func (c Closure) Open() bool { return c.Reason == ReasonInternet }

// Final reports that no rule opens the closure.
func (c Closure) Final() bool { return !c.Open() && !c.Reason.Opens() }

// defaultClosures returns the ranges that are closed whatever the host and the pool are. The sources are the IANA IPv4
// and IPv6 special-purpose address registries (RFC 6890 as updated by RFC 8190), the IPv6 address space registry and,
// for metadata, the providers' manuals. Registered ranges that are part of the internet (AS112, AMT) stay open, and so do
// the documentation ranges of RFC 5737, 3849 and 9637, which route nowhere and stand for the internet in tests.
func defaultClosures() []Closure {
	return append(closuresIPv4(), closuresIPv6()...)
}

func closed(reason Reason, prefixes ...string) []Closure {
	out := make([]Closure, len(prefixes))
	for i, p := range prefixes {
		out[i] = Closure{Prefix: netip.MustParsePrefix(p), Reason: reason}
	}
	return out
}

func concat(lists ...[]Closure) (out []Closure) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func closuresIPv4() []Closure {
	return concat(
		// RFC 791 "this network": no destination, and a connection to 0.0.0.0 reaches loopback on Linux.
		closed(ReasonEmbedded, "0.0.0.0/8"),
		closed(ReasonHost, "127.0.0.0/8"),                                      // RFC 1122
		closed(ReasonPrivate, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), // RFC 1918
		closed(ReasonShared, "100.64.0.0/10"),                                  // RFC 6598
		closed(ReasonLinkLocal, "169.254.0.0/16"),                              // RFC 3927
		closed(ReasonMetadata,
			"169.254.169.254/32", // AWS, Google, Azure, Oracle, DigitalOcean, Hetzner, OpenStack
			"169.254.170.2/32",   // AWS container credentials
			"169.254.170.23/32",  // AWS EKS pod identity
			"100.100.100.200/32", // Alibaba
			"192.0.0.192/32",     // Oracle classic
			"168.63.129.16/32",   // Azure's host, at a public address
		),
		closed(ReasonReserved,
			"192.0.0.0/24",   // RFC 6890 protocol assignments, the host's NAT's port control (RFC 7723) among them
			"192.88.99.0/24", // RFC 7526, the withdrawn 6to4 relay
			"198.18.0.0/15",  // RFC 2544 benchmarks, which laboratories route inside
			"240.0.0.0/4",    // RFC 1112
		),
		closed(ReasonMulticast, "224.0.0.0/4", "255.255.255.255/32"), // RFC 5771, RFC 919
	)
}

func closuresIPv6() []Closure {
	return concat(
		// Only 2000::/3 is global unicast (RFC 4291 section 2.4). The rest is closed whatever its use may be: discard
		// (RFC 6666), segment identifiers (RFC 9602), a dummy prefix (RFC 9780).
		closed(ReasonReserved, "::/3", "4000::/2", "8000::/1"),
		closed(ReasonHost, "::1/128"), // RFC 4291
		closed(ReasonEmbedded,
			"::/96",           // RFC 4291 section 2.5.5.1, IPv4-compatible, and :: itself
			"::ffff:0:0/96",   // RFC 4291 section 2.5.5.2, IPv4-mapped: a socket for it connects by IPv4
			"::ffff:0:0:0/96", // RFC 2765, IPv4-translated
			"64:ff9b:1::/48",  // RFC 8215, NAT64 for local use: nobody else knows where the IPv4 address stands
			"2001::/32",       // RFC 4380, Teredo
			"2002::/16",       // RFC 3056 and 7526, 6to4
		),
		// RFC 6052: open but for embedded addresses that IPv4 closes, which Compile adds.
		closed(ReasonInternet, nat64Prefix),
		closed(ReasonPrivate, "fc00::/7", "fec0::/10"), // RFC 4193, RFC 3879
		closed(ReasonLinkLocal, "fe80::/10"),           // RFC 4291
		closed(ReasonMulticast, "ff00::/8"),            // RFC 4291
		closed(ReasonMetadata,
			"fd00:ec2::254/128", // AWS
			"fd00:ec2::23/128",  // AWS EKS pod identity
			"fd20:ce::254/128",  // Google
			"fd00:42::42/128",   // Scaleway
		),
		// RFC 2928 protocol assignments: benchmarks (RFC 5180), ORCHIDs (RFC 4843, 7343), anycast control (RFC 7723, 8155).
		closed(ReasonReserved, "2001::/23"),
		closed(ReasonInternet,
			"2001:3::/32",     // RFC 7450, AMT
			"2001:4:112::/48", // RFC 7535, AS112
		),
	)
}

// nat64Prefix is the well-known prefix for addresses that translators make of IPv4 ones (RFC 6052).
const nat64Prefix = "64:ff9b::/96"

// nat64 returns the form that the addresses of an IPv4 prefix take behind the well-known prefix.
func nat64(prefix netip.Prefix) netip.Prefix {
	b := netip.MustParsePrefix(nat64Prefix).Addr().As16()
	v4 := prefix.Addr().As4()
	copy(b[12:], v4[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 96+prefix.Bits())
}

// IsISATAP reports an IPv6 address whose interface identifier is of the form that RFC 5214 gives to IPv4 addresses:
// 0000:5efe or 0200:5efe and the address. No packet passes to one: an ISATAP interface of the host, or of its network,
// would unpack it. As a match of bits: addr & 0:0:0:0:fdff:ffff:: equals 0:0:0:0:0:5efe::.
func IsISATAP(addr netip.Addr) bool {
	if !addr.Is6() || addr.Is4In6() {
		return false
	}
	b := addr.As16()
	return binary.BigEndian.Uint32(b[8:])&^0x02000000 == 0x00005efe
}
