package ipam

import (
	"net/netip"
	"slices"
	"time"
)

// Limits of a [Config] and of a [Pool].
const (
	// DefaultQuarantine is how long a released address rests unless [Config] says otherwise. It outlasts a WireGuard
	// session (REJECT-AFTER-TIME, 180 s) and the UDP mapping time-out that RFC 4787 section 4.3 recommends, 5 minutes,
	// after which NATs on the way have forgotten the last holder's flows.
	DefaultQuarantine = 5 * time.Minute
	// NoQuarantine, as [Config].Quarantine, lets a released address be leased again at once.
	NoQuarantine time.Duration = -1
	// MaxQuarantine is the longest quarantine.
	MaxQuarantine = 30 * 24 * time.Hour
	// MaxOutlying is how many addresses beyond the windows of its prefixes a pool holds, leased or in quarantine.
	MaxOutlying = 1 << 18
)

// grains is how many parts a quarantine is divided into: addresses whose quarantine ends within the same part share one
// record of the time.
const grains = 256

// DefaultIPv4 is the IPv4 prefix of [DefaultConfig], 10.0.0.0/8: the largest block of private addresses (RFC 1918).
func DefaultIPv4() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 8) }

// DefaultIPv6 is the IPv6 prefix of [DefaultConfig], fd77:6179:6c75:6d65::/64: a unique local prefix (RFC 4193) that spells
// "waylume" after the fd. It is fixed so that a node needs no state to come back with the addresses it had, and so that the
// same key has the same address on every node. RFC 4193 wants a random prefix where sites may merge; addresses behind an
// exit node never leave it untranslated, so two nodes cannot collide. Whoever routes between nodes sets a prefix of his own.
func DefaultIPv6() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 'w', 'a', 'y', 'l', 'u', 'm', 'e'}), 64)
}

// Config describes a [Pool]. Its zero value is as good as [DefaultConfig].
type Config struct {
	// Prefixes are where addresses come from, in this order: IPv4 prefixes from /8 to /32, IPv6 prefixes of any length,
	// of unicast addresses, with no host bits set, none overlapping another. All IPv6 prefixes together may have windows
	// of 2^32 addresses: 256 prefixes of /64. Empty means DefaultIPv4 and DefaultIPv6.
	Prefixes []netip.Prefix

	// Excluded are parts of Prefixes that are never leased. They may overlap each other and reserved addresses.
	Excluded []netip.Prefix

	// Quarantine is how long a released address rests, up to MaxQuarantine. 0 means DefaultQuarantine; NoQuarantine none.
	Quarantine time.Duration

	// Now tells the time; nil means time.Now. It is called with no lock held. A clock that runs backwards is taken to
	// stand still.
	Now func() time.Time
}

// DefaultConfig returns the configuration that the zero [Config] stands for.
func DefaultConfig() Config { return Config{}.withDefaults() }

// withDefaults returns a copy that shares nothing with c.
func (c Config) withDefaults() Config {
	c.Prefixes = slices.Clone(c.Prefixes)
	c.Excluded = slices.Clone(c.Excluded)
	if len(c.Prefixes) == 0 {
		c.Prefixes = []netip.Prefix{DefaultIPv4(), DefaultIPv6()}
	}
	if c.Quarantine == 0 {
		c.Quarantine = DefaultQuarantine
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Family is a version of the Internet Protocol.
type Family int

// The families; the zero Family is neither.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	default:
		return "unknown family"
	}
}

// familyOf returns the family of an address, or 0 for one that is of neither: the zero address and the IPv4-mapped.
func familyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6() && !a.Is4In6():
		return IPv6
	default:
		return 0
	}
}
