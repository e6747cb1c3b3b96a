package wgnode

import (
	"cmp"
	"slices"
)

// sequenced is what has a place in the order of things added.
type sequenced interface{ order() uint64 }

// ordered holds entries by sequence. What is added is newest, so that adding appends; finding is a binary search.
type ordered[T sequenced] struct{ entries []T }

func compareOrder[T sequenced](e T, sequence uint64) int { return cmp.Compare(e.order(), sequence) }

func (o *ordered[T]) len() int { return len(o.entries) }

// add inserts the entry at its place, which is the end for all but what is loaded from a store.
func (o *ordered[T]) add(e T) {
	if n := len(o.entries); n == 0 || o.entries[n-1].order() < e.order() {
		o.entries = append(o.entries, e)
		return
	}
	i, _ := slices.BinarySearchFunc(o.entries, e.order(), compareOrder[T])
	o.entries = slices.Insert(o.entries, i, e)
}

func (o *ordered[T]) remove(sequence uint64) {
	if i, ok := slices.BinarySearchFunc(o.entries, sequence, compareOrder[T]); ok {
		o.entries = slices.Delete(o.entries, i, i+1)
	}
}

// after returns up to limit entries that follow a sequence, in a slice that the next change may overwrite.
func (o *ordered[T]) after(sequence uint64, limit int) []T {
	i, found := slices.BinarySearchFunc(o.entries, sequence, compareOrder[T])
	if found {
		i++
	}
	return o.entries[i:min(i+limit, len(o.entries))]
}
