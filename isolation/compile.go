package isolation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Compile makes a plan of a policy for a host with the addresses host and for peers with addresses from the prefixes of
// pool, of which the bits past the length are ignored. Both may be empty; then only loopback is the host, and an address
// that no peer holds is judged like any other. It keeps no reference to its arguments. The error is a [*PolicyError] that
// names every problem.
func Compile(policy Policy, host []netip.Addr, pool []netip.Prefix) (*Plan, error) {
	v := validator{}
	v.policy(policy)
	closures := v.closures(host, pool)
	if len(v.problems) > 0 {
		return nil, &PolicyError{Problems: v.problems}
	}
	policy = policy.Clone()
	p := &Plan{denies: len(policy.Deny), denyWords: words(len(policy.Deny))}
	p.ruleWords = p.denyWords + words(len(policy.Allow))
	for _, r := range policy.Deny {
		p.rules = append(p.rules, planRule(r, true))
	}
	for _, r := range policy.Allow {
		p.rules = append(p.rules, planRule(r, false))
	}
	p.closures = slices.SortedFunc(maps.Values(closures), func(a, b Closure) int { return a.Prefix.Compare(b.Prefix) })
	in := &interner{}
	p.none = in.keep(p.newSet())
	p.compileDestinations(in, closures)
	p.services = p.compileServices(in)
	p.sides[0] = p.indexSubjects(in, true)
	p.sides[1] = p.indexSubjects(in, false)
	p.anybody = &selection{from: p.sides[0].always, to: p.sides[1].always}
	return p, nil
}

func (p *Plan) newSet() ruleset { return make(ruleset, p.ruleWords) }

// closures adds the host and the pool to the default closures, and then the NAT64 forms of what is closed in IPv4. RFC
// 6052 section 3.1 forbids to embed an address that is not global, so these are final.
func (v *validator) closures(host []netip.Addr, pool []netip.Prefix) map[netip.Prefix]Closure {
	out := map[netip.Prefix]Closure{}
	for _, c := range defaultClosures() {
		out[c.Prefix] = c
	}
	v.closePool(out, pool)
	v.closeHost(out, host)
	for _, c := range slices.Collect(maps.Values(out)) {
		if c.Prefix.Addr().Is4() && !c.Open() {
			out[nat64(c.Prefix)] = Closure{Prefix: nat64(c.Prefix), Reason: ReasonEmbedded}
		}
	}
	return out
}

func (v *validator) closePool(out map[netip.Prefix]Closure, pool []netip.Prefix) {
	for _, prefix := range pool {
		prefix = prefix.Masked()
		if problem := prefixProblem(prefix); problem != "" {
			v.add("pool: %s", problem)
			continue
		}
		around, ok := closureAround(out, prefix)
		if ok && around.Final() {
			v.add("pool: %s is inside %s, to which no packet passes: use another range", prefix, around.Prefix)
			continue
		}
		maps.DeleteFunc(out, func(inside netip.Prefix, c Closure) bool {
			return c.Open() && prefix.Overlaps(inside) && prefix.Bits() <= inside.Bits()
		})
		out[prefix] = Closure{Prefix: prefix, Reason: ReasonPool}
	}
}

func (v *validator) closeHost(out map[netip.Prefix]Closure, host []netip.Addr) {
	for _, addr := range host {
		addr = addr.Unmap().WithZone("")
		if !addr.IsValid() || addr.IsUnspecified() {
			v.add("host: %s is not an address", addr)
			continue
		}
		prefix := netip.PrefixFrom(addr, addr.BitLen())
		if around, ok := closureAround(out, prefix); !ok || !around.Final() {
			out[prefix] = Closure{Prefix: prefix, Reason: ReasonHost}
		}
	}
}

// closureAround returns the closure that decides for prefix as a whole.
func closureAround(closures map[netip.Prefix]Closure, prefix netip.Prefix) (Closure, bool) {
	for bits := prefix.Bits(); bits >= 0; bits-- {
		if c, ok := closures[netip.PrefixFrom(prefix.Addr(), bits).Masked()]; ok {
			return c, true
		}
	}
	return Closure{}, false
}

func planRule(r Rule, deny bool) PlannedRule {
	out := PlannedRule{Deny: deny, Rule: r, AnyDestination: r.To.IsZero(), Ports: mergePorts(r.Ports)}
	all := slices.Clone(r.To.Prefixes)
	for _, prefix := range r.To.Prefixes {
		if prefix.Addr().Is4() {
			all = append(all, nat64(prefix))
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	for _, prefix := range all {
		if n := len(out.Destinations); n == 0 || !out.Destinations[n-1].Contains(prefix.Addr()) {
			out.Destinations = append(out.Destinations, prefix)
		}
	}
	return out
}

func mergePorts(ports []PortRange) []PortRange {
	var out []PortRange
	for _, r := range slices.SortedFunc(slices.Values(ports), func(a, b PortRange) int { return int(a.First) - int(b.First) }) {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// compileDestinations lays rules and closures into one table, so that a packet needs one lookup.
func (p *Plan) compileDestinations(in *interner, closures map[netip.Prefix]Closure) {
	anywhere, internet := p.newSet(), p.newSet()
	owned := map[netip.Prefix][]int{}
	for _, root := range roots() {
		owned[root] = nil
	}
	for prefix := range closures {
		owned[prefix] = nil
	}
	for i, r := range p.rules {
		if r.AnyDestination {
			anywhere.set(p.bitOf(i))
		}
		if r.Rule.To.Internet {
			internet.set(p.bitOf(i))
		}
		for _, prefix := range r.Destinations {
			owned[prefix] = append(owned[prefix], p.bitOf(i))
		}
	}
	p.internet = in.keep(internet)
	p.nowhere = &destination{rules: p.none, reason: ReasonEmbedded, final: true}
	root := &destination{rules: in.keep(anywhere), open: true}
	p.destinations = inherit(sortedPrefixes(owned), root, func(around *destination, prefix netip.Prefix) *destination {
		d := *around
		if c, ok := closures[prefix]; ok {
			d.reason, d.open, d.final = c.Reason, c.Open(), c.Final()
		}
		d.rules = extend(in, d.rules, owned[prefix])
		return &d
	})
}

// extend returns the union of a kept set and some bits.
func extend(in *interner, set ruleset, bits []int) ruleset {
	if len(bits) == 0 {
		return set
	}
	set = slices.Clone(set)
	for _, bit := range bits {
		set.set(bit)
	}
	return in.keep(set)
}

// destinationOf returns what the plan knows about an address. Only the zero address is in no prefix of the table.
func (p *Plan) destinationOf(addr netip.Addr) *destination {
	if d, ok := p.destinations.Lookup(addr); ok {
		return d
	}
	return p.nowhere
}

// String describes the plan's size for a log.
func (p *Plan) String() string {
	return fmt.Sprintf("%d deny rules, %d allow rules, %d closures", p.denies, len(p.rules)-p.denies, len(p.closures))
}
