package nft

import (
	"net/netip"
)

// Ranges are the elements of an interval set for prefixes of one family that are sorted and do not overlap: each range
// begins with an element, and the address after it ends it. Prefixes that touch make one range.
func Ranges(prefixes []netip.Prefix) map[Key]Value {
	elements := make(map[Key]Value, 2*len(prefixes)+1)
	if len(prefixes) == 0 {
		return elements
	}
	for _, p := range prefixes {
		p = p.Masked()
		begin := string(p.Addr().AsSlice())
		if _, ok := elements[Key{Data: begin, End: true}]; ok {
			delete(elements, Key{Data: begin, End: true}) // the range before runs on
		} else {
			elements[Key{Data: begin}] = Value{}
		}
		if end, ok := after(p); ok {
			elements[Key{Data: string(end.AsSlice()), End: true}] = Value{}
		}
	}
	return elements
}

// after is the address that follows a prefix; the last prefix of a family has none.
func after(p netip.Prefix) (netip.Addr, bool) {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	next := last.Next()
	return next, next.IsValid()
}
