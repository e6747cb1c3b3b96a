package guest

import (
	"slices"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// chains are those of one table, without the rules that are ours: they are not what its owner meant.
type chains struct {
	rules map[string][]rule
	// leads counts the ways into a chain from anywhere, elements of maps among them.
	leads map[string]int
}

// newChains takes a table's chains apart. Uses are what nft.Conn.Uses says.
func newChains(actual map[string]nft.ActualChain, uses map[string]int) chains {
	c := chains{rules: make(map[string][]rule, len(actual)), leads: make(map[string]int, len(actual))}
	for name, chain := range actual {
		c.leads[name] = uses[name] - len(chain.Rules)
		for _, r := range chain.Rules {
			if r := read(r); r.mark == "" {
				c.rules[name] = append(c.rules[name], r)
			}
		}
	}
	return c
}

// place is where in a chain something is to stand: before the rule with an index, counted without ours; at the end for the
// number of rules.
type place struct {
	chain string
	index int
}

// fate is what becomes of packets that no condition of a chain is about.
type fate int

const (
	back    fate = iota // to the chain that led here; from a base chain to its policy
	dropped             // by a rule
	let                 // pass
)

// course is how those packets go through a chain.
type course struct {
	fate fate
	// path are the rules that lead to the fate, the outermost first: where the last one stands, it is decided.
	path []place
	// returns: some packets come back from the chain.
	returns bool
}

// course follows packets through a chain. A chain that is being followed already, as in a cycle, which the kernel does not
// allow, counts as one that gives packets back.
func (c chains) course(chain string, under map[string]bool) course {
	if under[chain] {
		return course{fate: back, path: []place{{chain, 0}}, returns: true}
	}
	under[chain] = true
	defer delete(under, chain)
	out := course{}
	rules := c.rules[chain]
	for i, r := range rules {
		at := []place{{chain, i}}
		switch r.does {
		case goesOn:
		case accepts, drops:
			if r.always {
				out.path, out.fate = at, dropped
				if r.does == accepts {
					out.fate = let
				}
				return out
			}
		case returns:
			out.returns = true
			if r.always {
				out.path = at
				return out
			}
		case jumps, leaves:
			next := c.course(r.to, under)
			if r.does == leaves {
				out.returns = out.returns || next.returns
			}
			if r.always && (r.does == leaves || !next.returns) {
				out.fate, out.path = next.fate, slices.Concat(at, next.path)
				return out
			}
		}
	}
	out.path, out.returns = []place{{chain, len(rules)}}, true
	return out
}

// closedAt finds where a base chain turns closed.
func (c chains) closedAt(base string, policyDrops bool) (place, bool) {
	way := c.course(base, make(map[string]bool))
	if way.fate == let || way.fate == back && !policyDrops {
		return place{}, false
	}
	at := way.path[0]
	for _, inner := range way.path[1:] {
		if !c.leadsOnly(at.chain, inner.chain) {
			break
		}
		at = inner
	}
	return c.beforeDefault(at), true
}

// leadsOnly reports whether nothing but chain from leads to chain to, and by default: then what is put there concerns no other
// packets. A second way in, for packets of an interface, as firewalld sends them to the zone that is also the default, is
// no matter if the chain has more to decide; else going there is a refusal in so many words.
func (c chains) leadsOnly(from, to string) bool {
	ways := 0
	for _, r := range c.rules[from] {
		if r.to != to || r.does != jumps && r.does != leaves {
			continue
		}
		if !r.always && !(r.byInterface && c.decides(to)) {
			return false
		}
		ways++
	}
	return ways == c.leads[to]
}

// decides reports whether a chain does anything but refuse.
func (c chains) decides(chain string) bool {
	for _, r := range c.rules[chain] {
		if r.does != goesOn && r.does != drops {
			return true
		}
	}
	return false
}

// beforeDefault steps back over rules that refuse or note packets of anybody's: they are part of the default.
func (c chains) beforeDefault(at place) place {
	rules := c.rules[at.chain]
	for at.index > 0 && rules[at.index-1].anybody {
		at.index--
	}
	return at
}
