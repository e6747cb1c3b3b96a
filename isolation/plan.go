package isolation

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// Plan is a policy made ready for an executor: every question that can be answered before a packet comes is answered. It
// is immutable, safe for use by several goroutines, and the same for the same input. [Filter] executes it on packets; an
// executor of another kind reads [Plan.Rules], [Plan.Closures] or [Plan.Closed] and [Plan.Final], and asks [Plan.Selects]
// for each peer. What an executor must do with them, for the first packet of a flow from a peer:
//
//  1. refuse a source that is not the peer's;
//  2. unless the destination is a peer's, refuse what [Plan.Final] holds and what [IsISATAP] reports;
//  3. refuse what any deny rule matches;
//  4. pass what any allow rule matches;
//  5. refuse what is for another peer, what [Plan.Closed] holds and TCP port 25;
//  6. pass the rest.
//
// A rule matches when the sender is in its From, the protocol and port fit, and the destination is in its Destinations,
// belongs to a peer in its To, or is in neither a peer's nor a closed address while the rule's To says Internet.
type Plan struct {
	rules    []PlannedRule
	denies   int // the first so many of rules deny
	closures []Closure

	denyWords int // bits of deny rules fill the first words of a ruleset, those of allow rules the others
	ruleWords int

	destinations *bart.Fast[*destination]
	nowhere      *destination // what no prefix holds
	internet     ruleset      // rules whose To says Internet
	none         ruleset      // the empty set
	services     services
	sides        [2]subjectIndex // from, to
	anybody      *selection      // of a subject that no rule names
}

// PlannedRule is a rule of a [Plan]. It is not to be changed.
type PlannedRule struct {
	// Deny tells a deny rule from an allow rule.
	Deny bool
	// Rule is the rule as the policy has it.
	Rule Rule
	// AnyDestination reports that the rule's To matches anything.
	AnyDestination bool
	// Destinations are the prefixes of the rule's To and, for those of IPv4, their NAT64 forms: sorted, none inside another.
	Destinations []netip.Prefix
	// Ports are the rule's ports: sorted, neither overlapping nor adjacent; none means any.
	Ports []PortRange
}

// destination is what a plan knows about the addresses of a prefix.
type destination struct {
	rules  ruleset // rules whose To matches the address
	reason Reason
	open   bool
	final  bool
}

// Rules returns the rules, those that deny first, each kind in the order of the policy. An index into it names a rule in
// [Plan.Selects].
func (p *Plan) Rules() []PlannedRule { return slices.Clone(p.rules) }

// Closures returns the default closures, with the host and the pool, as a table for longest-prefix matching: the longest
// prefix around an address decides, and an address in none is open. They are sorted, IPv4 before IPv6.
func (p *Plan) Closures() []Closure { return slices.Clone(p.closures) }

// Closed returns the addresses that are closed by default, those of [Plan.Final] among them, as sorted prefixes of both
// families that do not overlap and cannot be merged further: what an interval set holds.
func (p *Plan) Closed() []netip.Prefix { return p.disjoint(func(c Closure) bool { return !c.Open() }) }

// Final returns the addresses that no rule opens, in the same form as [Plan.Closed].
func (p *Plan) Final() []netip.Prefix { return p.disjoint(Closure.Final) }

// Selects returns the rules whose From matches the subject, and those whose To matches it by its identity: by Peers,
// Accounts or Labels. It does not look at To's Prefixes, which match packets. Both are sorted indexes into [Plan.Rules].
func (p *Plan) Selects(s Subject) (from, to []int) {
	sel := p.selects(s)
	sel.from.each(func(bit int) { from = append(from, p.ruleOf(bit)) })
	sel.to.each(func(bit int) { to = append(to, p.ruleOf(bit)) })
	return from, to
}

// bitOf and ruleOf translate between a rule's index and its bit.
func (p *Plan) bitOf(rule int) int {
	if rule < p.denies {
		return rule
	}
	return p.denyWords*wordBits + rule - p.denies
}

func (p *Plan) ruleOf(bit int) int {
	if bit < p.denyWords*wordBits {
		return bit
	}
	return bit - p.denyWords*wordBits + p.denies
}

// disjoint returns the addresses for which pick says yes.
func (p *Plan) disjoint(pick func(Closure) bool) []netip.Prefix {
	var out []netip.Prefix
	open := Closure{Reason: ReasonInternet}
	for _, root := range roots() {
		var family []Closure
		for _, c := range p.closures {
			if c.Prefix.Addr().BitLen() == root.Addr().BitLen() {
				family = append(family, c)
			}
		}
		if whole := pickInto(&out, root, open, family, pick); whole {
			out = append(out, root)
		}
	}
	return out
}

// pickInto appends the picked parts of prefix to out, unless all of it is picked, which it reports instead. Inside are the
// closures inside prefix, sorted; around is the one that decides for what they leave.
func pickInto(out *[]netip.Prefix, prefix netip.Prefix, around Closure, inside []Closure, pick func(Closure) bool) bool {
	if len(inside) > 0 && inside[0].Prefix == prefix {
		around, inside = inside[0], inside[1:]
	}
	if len(inside) == 0 {
		return pick(around)
	}
	low, high := halves(prefix)
	cut, _ := slices.BinarySearchFunc(inside, high.Addr(), func(c Closure, a netip.Addr) int {
		return c.Prefix.Addr().Compare(a)
	})
	wholeLow := pickInto(out, low, around, inside[:cut], pick)
	at := len(*out)
	wholeHigh := pickInto(out, high, around, inside[cut:], pick)
	switch {
	case wholeLow && wholeHigh:
		return true
	case wholeLow:
		*out = slices.Insert(*out, at, low)
	case wholeHigh:
		*out = append(*out, high)
	}
	return false
}

// halves returns the two prefixes that are one bit longer.
func halves(prefix netip.Prefix) (low, high netip.Prefix) {
	bit := prefix.Bits()
	b := prefix.Addr().AsSlice()
	b[bit/8] |= 0x80 >> (bit % 8)
	other, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(prefix.Addr(), bit+1), netip.PrefixFrom(other, bit+1)
}

// roots returns the prefixes that hold all addresses of a family.
func roots() []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	}
}

// inherit builds a table in which each prefix has the value that derive makes of the one of the next shorter prefix
// around it, or of root. The prefixes are sorted by [netip.Prefix.Compare], which puts a prefix before those inside.
func inherit[V any](prefixes iter.Seq[netip.Prefix], root V, derive func(V, netip.Prefix) V) *bart.Fast[V] {
	type level struct {
		prefix netip.Prefix
		value  V
	}
	table := new(bart.Fast[V])
	var around []level
	for prefix := range prefixes {
		for len(around) > 0 && !around[len(around)-1].prefix.Contains(prefix.Addr()) {
			around = around[:len(around)-1]
		}
		parent := root
		if len(around) > 0 {
			parent = around[len(around)-1].value
		}
		value := derive(parent, prefix)
		around = append(around, level{prefix, value})
		table.Insert(prefix, value)
	}
	return table
}
