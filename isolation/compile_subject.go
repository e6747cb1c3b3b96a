package isolation

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// subjectIndex finds the rules of which one side matches a subject, without looking at rules that do not name it.
type subjectIndex struct {
	always   ruleset // the side is a zero From
	peers    map[string][]int
	accounts map[string][]int
	labels   []labelMatch
	prefixes *bart.Fast[ruleset] // nil in To, where prefixes match packets
}

type labelMatch struct {
	bit    int
	labels map[string]string
}

// selection are the rules of a plan that name one subject, on either side.
type selection struct {
	from, to ruleset
}

// selects returns the selection of a subject. Those that no rule names, which are most, share one.
func (p *Plan) selects(s Subject) *selection {
	sel := &selection{from: p.newSet(), to: p.newSet()}
	p.sides[0].collect(sel.from, s)
	p.sides[1].collect(sel.to, s)
	if slices.Equal(sel.from, p.anybody.from) && slices.Equal(sel.to, p.anybody.to) {
		return p.anybody
	}
	return sel
}

func (x *subjectIndex) collect(into ruleset, s Subject) {
	into.add(x.always)
	for _, bit := range x.peers[s.ID] {
		into.set(bit)
	}
	for _, bit := range x.accounts[s.Account] { // no rule has the empty one
		into.set(bit)
	}
	for _, m := range x.labels {
		if m.matches(s.Labels) {
			into.set(m.bit)
		}
	}
	if x.prefixes == nil {
		return
	}
	for _, addr := range s.Addrs {
		if rules, ok := x.prefixes.Lookup(addr); ok {
			into.add(rules)
		}
	}
}

func (m labelMatch) matches(labels map[string]string) bool {
	for key, value := range m.labels {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// indexSubjects builds the index of the From sides, or of the To sides. A zero To needs no bit here: the destination
// table has it for every address.
func (p *Plan) indexSubjects(in *interner, from bool) subjectIndex {
	x := subjectIndex{peers: map[string][]int{}, accounts: map[string][]int{}}
	always := p.newSet()
	owned := map[netip.Prefix][]int{}
	for i, r := range p.rules {
		bit, side := p.bitOf(i), r.Rule.To
		if from {
			side = r.Rule.From
		}
		if from && side.IsZero() {
			always.set(bit)
		}
		for _, id := range side.Peers {
			x.peers[id] = append(x.peers[id], bit)
		}
		for _, account := range side.Accounts {
			x.accounts[account] = append(x.accounts[account], bit)
		}
		if side.Labels != nil {
			x.labels = append(x.labels, labelMatch{bit, side.Labels})
		}
		for _, prefix := range side.Prefixes {
			owned[prefix] = append(owned[prefix], bit)
		}
	}
	x.always = in.keep(always)
	if from && len(owned) > 0 {
		x.prefixes = inherit(sortedPrefixes(owned), p.none, func(around ruleset, prefix netip.Prefix) ruleset {
			return extend(in, around, owned[prefix])
		})
	}
	return x
}

// sortedPrefixes yields the keys so that a prefix comes before those inside it.
func sortedPrefixes[V any](m map[netip.Prefix]V) iter.Seq[netip.Prefix] {
	return slices.Values(slices.SortedFunc(maps.Keys(m), netip.Prefix.Compare))
}
