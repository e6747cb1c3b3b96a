package ipam

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
)

// A set is coded page by page: a token is count<<2 | kind, and an empty gap ends the set.
const (
	tokenGap  = iota // count pages without a member
	tokenFull        // count pages with every member
	tokenRaw         // one page (the count is 1), its words little-endian
	tokenRuns        // one page, as count runs of members: the gap before the run, its length - 1
)

const rawPageLen = pageSlots / 8

// appendSet appends a set, given by its pages in ascending order; a nil page has every member.
func appendSet(b []byte, pages iter.Seq2[uint64, *page]) []byte {
	var next, full uint64 // next is the page after the last one; the full pages before it are not written yet
	flush := func() {
		if full > 0 {
			b = appendToken(b, tokenFull, full)
			full = 0
		}
	}
	for p, pg := range pages {
		if p > next {
			flush()
			b = appendToken(b, tokenGap, p-next)
		}
		next = p + 1
		if pg == nil {
			full++
			continue
		}
		flush()
		b = pg.append(b)
	}
	flush()
	return appendToken(b, tokenGap, 0)
}

func appendToken(b []byte, kind, count uint64) []byte { return binary.AppendUvarint(b, count<<2|kind) }

// append appends the page as runs or raw, whichever is shorter.
func (pg *page) append(b []byte) []byte {
	count, carry := 0, uint64(0)
	for _, w := range pg.words {
		count += bits.OnesCount64(w &^ (w<<1 | carry)) // where runs begin
		carry = w >> 63
	}
	if 2*count < rawPageLen {
		coded := pg.appendRuns(b, uint64(count))
		if len(coded)-len(b) <= rawPageLen {
			return coded
		}
	}
	b = appendToken(b, tokenRaw, 1)
	for _, w := range pg.words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func (pg *page) appendRuns(b []byte, count uint64) []byte {
	b = appendToken(b, tokenRuns, count)
	var at uint64
	for first, last := range pg.runs() {
		b = binary.AppendUvarint(b, first-at)
		b = binary.AppendUvarint(b, last-first)
		at = last + 1
	}
	return b
}

// runs returns the first and last of each run of members, as numbers within the page.
func (pg *page) runs() iter.Seq2[uint64, uint64] {
	return func(yield func(uint64, uint64) bool) {
		for first := pg.find(0, 0); first < pageSlots; {
			end := pg.find(first, allOnes)
			if !yield(first, end-1) {
				return
			}
			first = pg.find(end, 0)
		}
	}
}

// find returns the first slot from i on that is a member, or that is none if flip is allOnes; pageSlots if there is none.
func (pg *page) find(i, flip uint64) uint64 {
	for i < pageSlots {
		if rest := (pg.words[i>>6] ^ flip) >> (i & 63); rest != 0 {
			return i + uint64(bits.TrailingZeros64(rest))
		}
		i = i&^63 + 64
	}
	return pageSlots
}

// stored returns the pages that have a member, nil for those that have all.
func (s *slotSet) stored() iter.Seq2[uint64, *page] {
	return func(yield func(uint64, *page) bool) {
		for p, ok := s.nextPage(0); ok; p, ok = s.nextPage(p + 1) {
			if !yield(p, s.pages[p]) {
				return
			}
		}
	}
}

// pagesOf returns the pages of the slots, which it sorts. A page is good until the next.
func pagesOf(slots []uint32) iter.Seq2[uint64, *page] {
	return func(yield func(uint64, *page) bool) {
		slices.Sort(slots)
		var pg page
		for i, slot := range slots {
			pg.words[slot>>6%pageWords] |= 1 << (slot & 63)
			p := slot >> pageShift
			if i+1 < len(slots) && slots[i+1]>>pageShift == p {
				continue
			}
			if !yield(uint64(p), &pg) {
				return
			}
			pg = page{}
		}
	}
}

// set reads a set of slots below bound, a multiple of pageSlots, as spans in ascending order.
func (d *decoder) set(bound uint64, each func(span)) {
	pages := bound >> pageShift
	for p := uint64(0); ; {
		token := d.number("set", maxSlots<<2)
		count, kind := token>>2, token&3
		if d.err != nil || kind == tokenGap && count == 0 {
			return
		}
		after := p + 1
		if kind == tokenGap || kind == tokenFull {
			after = p + count
		}
		if after > pages || count == 0 {
			d.fail("set goes beyond its prefixes")
			return
		}
		switch kind {
		case tokenFull:
			each(span{p << pageShift, after<<pageShift - 1})
		case tokenRaw:
			d.rawPage(p<<pageShift, each)
		case tokenRuns:
			d.runs(p<<pageShift, count, each)
		}
		p = after
	}
}

func (d *decoder) rawPage(base uint64, each func(span)) {
	raw := d.take("page", rawPageLen)
	if raw == nil {
		return
	}
	var pg page
	for i := range pg.words {
		pg.words[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	for first, last := range pg.runs() {
		each(span{base + first, base + last})
	}
}

func (d *decoder) runs(base, count uint64, each func(span)) {
	var at uint64
	for range count {
		first := at + d.number("run", pageSlots)
		last := first + d.number("run", pageSlots)
		if d.err == nil && last >= pageSlots {
			d.fail("run goes beyond its page")
		}
		if d.err != nil {
			return
		}
		each(span{base + first, base + last})
		at = last + 1
	}
}
