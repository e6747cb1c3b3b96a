package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
)

// maxSlots bounds the windows of one family together; a slot fits 32 bits.
const maxSlots = 1 << 32

// block is a range of addresses and what it is for.
type block struct {
	prefix netip.Prefix
	name   string
}

// refused are the blocks that no prefix may touch: no other host takes a packet from or to them, so a peer with such an
// address would be mute.
func refused() []block {
	v4 := func(a, b byte, bits int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b}), bits) }
	v6 := func(a, b byte, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{a, b}), bits)
	}
	mapped := netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)
	return []block{
		{v4(0, 0, 8), "unspecified addresses (RFC 1122)"},
		{v4(127, 0, 8), "loopback addresses (RFC 1122)"},
		{v4(169, 254, 16), "link-local addresses (RFC 3927)"},
		{v4(224, 0, 4), "multicast addresses (RFC 5771)"},
		{v4(240, 0, 4), "reserved addresses (RFC 1112)"},
		{v6(0, 0, 128), "the unspecified address (RFC 4291)"},
		{netip.PrefixFrom(netip.IPv6Loopback(), 128), "the loopback address (RFC 4291)"},
		{mapped, "IPv4-mapped addresses (RFC 4291)"},
		{v6(0xfe, 0x80, 10), "link-local addresses (RFC 4291)"},
		{v6(0xff, 0, 8), "multicast addresses (RFC 4291)"},
	}
}

// validator gathers the problems of a configuration.
type validator struct {
	problems []error
	unsound  map[Family]bool // those with a problem, so that their layout would mislead
}

// report notes the problem of one prefix.
func (v *validator) report(field string, index int, value netip.Prefix, problem string, args ...any) {
	if value.IsValid() {
		v.unsound[familyOf(tidy(value).Addr())] = true
	} else { // of either
		v.unsound[IPv4], v.unsound[IPv6] = true, true
	}
	v.problems = append(v.problems, &ConfigError{
		Field: field, Index: index, Value: value.String(), Problem: fmt.Sprintf(problem, args...),
	})
}

// layouts returns the layouts of the families that c has, IPv4 first, or every problem of c, joined.
func (c Config) layouts() ([]*layout, error) {
	v := c.validate()
	var list []*layout
	for _, f := range []Family{IPv4, IPv6} {
		isOne := func(p netip.Prefix) bool { return familyOf(p.Addr()) == f }
		if v.unsound[f] || !slices.ContainsFunc(c.Prefixes, isOne) {
			continue
		}
		l, err := newLayout(f, c)
		if err != nil {
			v.problems = append(v.problems, err)
			continue
		}
		list = append(list, l)
	}
	return list, errors.Join(v.problems...)
}

// validate finds the problems of c but those of a family as a whole.
func (c Config) validate() *validator {
	v := &validator{unsound: make(map[Family]bool)}
	// Prefixes of a bad form count as given, lest each exclusion inside one be reported as well.
	var given bart.Table[int]
	for i, p := range c.Prefixes {
		v.prefix("Prefixes", i, p)
		v.addresses(i, p)
		if p = tidy(p); !p.IsValid() {
			continue
		}
		if j, ok := overlapping(&given, p); ok {
			v.report("Prefixes", i, c.Prefixes[i], "overlaps Prefixes[%d], %s; keep one of them", j, c.Prefixes[j])
			continue
		}
		given.Insert(p, i)
	}
	for i, e := range c.Excluded {
		v.prefix("Excluded", i, e)
		if e = tidy(e); !e.IsValid() {
			continue
		}
		if _, ok := given.LookupPrefix(e); !ok {
			v.report("Excluded", i, c.Excluded[i], "is not inside any one of Prefixes; exclude only what the pool has")
		}
	}
	v.quarantine(c.Quarantine)
	return v
}

// tidy returns what the user most likely meant by p.
func tidy(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// prefix checks the form of a prefix.
func (v *validator) prefix(field string, i int, p netip.Prefix) {
	switch {
	case !p.IsValid():
		v.report(field, i, p, "is no prefix; give an address and its prefix length, such as 10.0.0.0/8")
	case p.Addr().Is4In6() && p.Bits() >= 96:
		v.report(field, i, p, "is IPv4-mapped; write %s", tidy(p))
	case p != p.Masked():
		v.report(field, i, p, "has host bits set; write %s", p.Masked())
	}
}

// addresses checks that a prefix of Prefixes has addresses that peers can use.
func (v *validator) addresses(i int, p netip.Prefix) {
	if !p.IsValid() || p.Addr().Is4In6() {
		return
	}
	if p.Addr().Is4() && p.Bits() < 32-windowBits {
		v.report("Prefixes", i, p, "is too large; give it in parts, each a /%d or longer", 32-windowBits)
		return
	}
	for _, b := range refused() {
		if b.prefix.Overlaps(p) {
			v.report("Prefixes", i, p, "has %s, %s, which cannot be leased; choose another", b.name, b.prefix)
			return
		}
	}
}

func (v *validator) quarantine(d time.Duration) {
	problem := &ConfigError{Field: "Quarantine", Index: -1, Value: d.String()}
	switch {
	case d < 0 && d != NoQuarantine:
		problem.Problem = "is negative; use NoQuarantine for none"
	case d > MaxQuarantine:
		problem.Problem = "is too long; it may be at most " + MaxQuarantine.String()
	default:
		return
	}
	v.problems = append(v.problems, problem)
}

// overlapping returns the index of a prefix in t that overlaps p.
func overlapping(t *bart.Table[int], p netip.Prefix) (int, bool) {
	for _, i := range t.Supernets(p) {
		return i, true
	}
	for _, i := range t.Subnets(p) {
		return i, true
	}
	return 0, false
}
