package isolation

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// ruleset is a set of the rules of one plan, a bit per rule; all sets of a plan have the same length.
type ruleset []uint64

const wordBits = 64

func words(rules int) int { return (rules + wordBits - 1) / wordBits }

func (s ruleset) set(bit int)    { s[bit/wordBits] |= 1 << (bit % wordBits) }
func (s ruleset) toggle(bit int) { s[bit/wordBits] ^= 1 << (bit % wordBits) }

// add makes s the union of s and o.
func (s ruleset) add(o ruleset) {
	for i, w := range o {
		s[i] |= w
	}
}

// each calls yield with every bit in the set, in order.
func (s ruleset) each(yield func(bit int)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			yield(i*wordBits + bits.TrailingZeros64(w))
		}
	}
}

// interner keeps one copy of equal sets: thousands of prefixes or ports mostly share a few.
type interner struct {
	sets map[string]ruleset
	key  []byte
}

// keep returns a set equal to s that nobody changes.
func (n *interner) keep(s ruleset) ruleset {
	n.key = n.key[:0]
	for _, w := range s {
		n.key = binary.LittleEndian.AppendUint64(n.key, w)
	}
	if kept, ok := n.sets[string(n.key)]; ok {
		return kept
	}
	if n.sets == nil {
		n.sets = map[string]ruleset{}
	}
	kept := slices.Clone(s)
	n.sets[string(n.key)] = kept
	return kept
}
