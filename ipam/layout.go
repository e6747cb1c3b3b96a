package ipam

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sort"

	"github.com/gaissmai/bart"
)

const (
	// windowBits is how many host bits of an address Lease chooses.
	windowBits = 24
	windowSize = 1 << windowBits
)

// window is the part of a prefix that Lease hands out. Its addresses have consecutive slots, the numbers that stand for
// them in a slotSet.
type window struct {
	prefix netip.Prefix
	base   uint64 // the slot of the first address, a multiple of pageSlots, so that no page spans two windows
	size   uint64 // how many addresses, 1 to windowSize
}

// windowsOf gives the prefixes of one family their windows, and the bound of their slots.
func windowsOf(f Family, prefixes []netip.Prefix) (windows []window, bound uint64) {
	for _, p := range prefixes {
		if familyOf(p.Addr()) != f {
			continue
		}
		size := uint64(1) << min(windowBits, p.Addr().BitLen()-p.Bits())
		windows = append(windows, window{prefix: p, base: bound, size: size})
		bound += (size + pageSlots - 1) &^ (pageSlots - 1)
	}
	return windows, bound
}

// slot returns the slot of an address of the prefix; false means that it is outlying: beyond the window.
func (w *window) slot(a netip.Addr) (uint64, bool) {
	offset := low64(a) - low64(w.prefix.Addr())
	if high64(a) != high64(w.prefix.Addr()) || offset >= w.size {
		return 0, false
	}
	return w.base + offset, true
}

// addr returns the address with the slot, which must be in the window.
func (w *window) addr(slot uint64) netip.Addr {
	low := low64(w.prefix.Addr()) + slot - w.base
	if w.prefix.Addr().Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(low))
		return netip.AddrFrom4(b)
	}
	b := w.prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}

// low64 is the last 64 bits of an IPv6 address, and all of an IPv4 address.
func low64(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}

// high64 is the first 64 bits of an IPv6 address, and 0 for an IPv4 address.
func high64(a netip.Addr) uint64 {
	if a.Is4() {
		return 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}

// span is a range of slots, both ends included.
type span struct{ first, last uint64 }

func (s span) len() uint64 { return s.last - s.first + 1 }

// layout is what never changes about the addresses of one family.
type layout struct {
	family   Family
	windows  []window
	bound    uint64 // slots are below it
	gateway  netip.Addr
	leasable []span   // the slots that are neither reserved nor excluded, ascending
	before   []uint64 // before[i] is how many slots leasable[:i] has
	capacity uint64   // how many slots leasable has
	excluded bart.Lite
}

// newLayout lays out the prefixes of a family that has at least one. The configuration is valid.
func newLayout(f Family, cfg Config) (*layout, error) {
	l := &layout{family: f}
	l.windows, l.bound = windowsOf(f, cfg.Prefixes)
	if l.bound > maxSlots {
		return nil, l.problem("too many: their windows may have 2^32 addresses in all, such as 256 prefixes of /64")
	}
	first := &l.windows[0]
	l.gateway = first.prefix.Addr()
	if hasEdges(first.prefix) {
		l.gateway = l.gateway.Next()
	}
	for _, e := range cfg.Excluded {
		if familyOf(e.Addr()) == f {
			l.excluded.Insert(e)
		}
	}
	l.setLeasable(l.holes())
	if l.capacity == 0 {
		return nil, l.problem("too small: nothing is left to lease beside the gateway and other reserved or excluded " +
			"addresses; give a larger prefix or exclude less")
	}
	return l, nil
}

func (l *layout) problem(text string) error {
	list := make([]netip.Prefix, min(len(l.windows), 3))
	for i := range list {
		list[i] = l.windows[i].prefix
	}
	value := fmt.Sprint(list)
	if more := len(l.windows) - len(list); more > 0 {
		value += fmt.Sprintf(" and %d more", more)
	}
	return &ConfigError{Field: "Prefixes", Index: -1, Value: l.family.String() + " " + value, Problem: "are " + text}
}

// hasEdges reports whether a prefix has addresses at its ends that are no host's: RFC 3021 and RFC 6164 take them away
// from a prefix of two.
func hasEdges(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() >= 2 }

// holes returns the spans of slots that are not leasable, in any order. They may overlap.
func (l *layout) holes() []span {
	var holes []span
	for i := range l.windows {
		w := &l.windows[i]
		last := w.base + w.size - 1
		if hasEdges(w.prefix) {
			holes = append(holes, span{w.base, w.base})
			if l.family == IPv4 {
				holes = append(holes, span{last, last})
			}
		}
	}
	slot, _ := l.windows[0].slot(l.gateway)
	holes = append(holes, span{slot, slot})

	byAddr := make([]*window, len(l.windows))
	for i := range l.windows {
		byAddr[i] = &l.windows[i]
	}
	slices.SortFunc(byAddr, func(a, b *window) int { return a.prefix.Addr().Compare(b.prefix.Addr()) })
	for e := range l.excluded.All() {
		// The last window that starts at or before the exclusion is the one that has it.
		i := sort.Search(len(byAddr), func(i int) bool { return e.Addr().Less(byAddr[i].prefix.Addr()) }) - 1
		w := byAddr[i]
		if first, ok := w.slot(e.Addr()); ok {
			size := uint64(1) << min(windowBits, e.Addr().BitLen()-e.Bits())
			holes = append(holes, span{first, min(first+size, w.base+w.size) - 1})
		}
	}
	return holes
}

// setLeasable makes leasable what the windows have beside the holes.
func (l *layout) setLeasable(holes []span) {
	slices.SortFunc(holes, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for _, w := range l.windows {
		at, end := w.base, w.base+w.size
		for len(holes) > 0 && holes[0].first < end {
			if holes[0].first > at {
				l.addLeasable(span{at, holes[0].first - 1})
			}
			at = max(at, holes[0].last+1)
			holes = holes[1:]
		}
		if at < end {
			l.addLeasable(span{at, end - 1})
		}
	}
}

func (l *layout) addLeasable(s span) {
	l.leasable = append(l.leasable, s)
	l.before = append(l.before, l.capacity)
	l.capacity += s.len()
}

// nth returns the leasable slot that has n others before it; n is below capacity.
func (l *layout) nth(n uint64) uint64 {
	i, found := slices.BinarySearch(l.before, n)
	if !found {
		i--
	}
	return l.leasable[i].first + n - l.before[i]
}

// keySlot returns the slot that hash, evenly spread over all 64-bit numbers, stands for.
func (l *layout) keySlot(hash uint64) uint64 {
	n, _ := bits.Mul64(hash, l.capacity)
	return l.nth(n)
}

// spanAt returns the index in leasable of the first span that ends at the slot or above.
func (l *layout) spanAt(slot uint64) int {
	return sort.Search(len(l.leasable), func(i int) bool { return l.leasable[i].last >= slot })
}

// isLeasable reports whether the slot is neither reserved nor excluded.
func (l *layout) isLeasable(slot uint64) bool {
	i := l.spanAt(slot)
	return i < len(l.leasable) && l.leasable[i].first <= slot
}

// windowOf returns the window with the slot, or with the last slots before it.
func windowOf(windows []window, slot uint64) *window {
	i := sort.Search(len(windows), func(i int) bool { return windows[i].base > slot })
	return &windows[i-1]
}

// addr returns the address with the slot.
func (l *layout) addr(slot uint64) netip.Addr { return windowOf(l.windows, slot).addr(slot) }

// whyReserved says why an address of window w is not leasable.
func (l *layout) whyReserved(w *window, a netip.Addr) string {
	switch {
	case a == l.gateway:
		return "it is the node's own"
	case !hasEdges(w.prefix):
	case a == w.prefix.Addr() && l.family == IPv4:
		return "it is the network address of " + w.prefix.String()
	case a == w.prefix.Addr():
		return "it is the Subnet-Router anycast address of " + w.prefix.String()
	case l.family == IPv4 && a == w.addr(w.base+w.size-1):
		return "it is the broadcast address of " + w.prefix.String()
	}
	return "the configuration excludes it"
}
