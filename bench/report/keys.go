package main

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// keys are what a benchmark's name says of one of its cases: path=exit. Words without "=" are the value of the key "of".
type keys map[string]string

// splitName takes a benchmark's name apart. More is what a metric says of its case beside the name, if anything.
func splitName(name, more string) (topic string, of keys) {
	topic, rest, _ := strings.Cut(name, "/")
	of = keys{}
	var words []string
	for part := range strings.SplitSeq(rest, "/") {
		if key, value, ok := strings.Cut(part, "="); ok {
			of[key] = value
		} else if part != "" {
			words = append(words, part)
		}
	}
	if more != "" {
		words = append(words, more)
	}
	if len(words) > 0 {
		of[keyOf] = strings.Join(words, "/")
	}
	return topic, of
}

// with are the keys with others in their places. An empty value takes a key away.
func (k keys) with(others ...keys) keys {
	all := maps.Clone(k)
	if all == nil {
		all = keys{}
	}
	for _, other := range others {
		for key, value := range other {
			if value == "" {
				delete(all, key)
			} else {
				all[key] = value
			}
		}
	}
	return all
}

// only are the keys of these names.
func (k keys) only(names []string) keys {
	some := keys{}
	for _, name := range names {
		if value, ok := k[name]; ok {
			some[name] = value
		}
	}
	return some
}

// String is the same for the same keys.
func (k keys) String() string {
	parts := make([]string, 0, len(k))
	for _, key := range slices.Sorted(maps.Keys(k)) {
		parts = append(parts, key+"="+k[key])
	}
	return strings.Join(parts, " ")
}

// values are the values of some keys, with "-" for those that are not there.
func (k keys) values(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = cmp.Or(k[name], "-")
	}
	return all
}

// order compares two values of one key as a reader would have them: those of a list first, in its order, then numbers by their
// values, 256k before 1M, then words. What begins with an entry of the list is at its place: "kernel/10" at "kernel".
func order(list []string, a, b string) int {
	if c := cmp.Compare(rank(list, a), rank(list, b)); c != 0 {
		return c
	}
	headA, numberA, okA := number(a)
	headB, numberB, okB := number(b)
	if okA && okB && headA == headB {
		return cmp.Compare(numberA, numberB)
	}
	return strings.Compare(a, b)
}

func rank(list []string, value string) int {
	i := slices.IndexFunc(list, func(entry string) bool { return value == entry || strings.HasPrefix(value, entry+"/") })
	if i < 0 {
		return len(list)
	}
	return i
}

// number reads a number at the end of a value, with k, M or G for thousands, millions and milliards.
func number(value string) (head string, n float64, ok bool) {
	digits, factor := value, 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if trimmed, found := strings.CutSuffix(value, suffix); found {
			digits, factor = trimmed, f
		}
	}
	head = strings.TrimRight(digits, "0123456789")
	n, err := strconv.ParseFloat(digits[len(head):], 64)
	return head, n * factor, err == nil
}
