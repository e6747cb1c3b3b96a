package ipam

import "math/bits"

// A page is the unit in which a slotSet takes memory.
const (
	pageShift = 12
	pageSlots = 1 << pageShift
	pageWords = pageSlots / 64
	allOnes   = ^uint64(0)
)

// page holds some of its slots: a page with none or all of them is not stored.
type page struct {
	words [pageWords]uint64
	used  uint64 // bit w is set when words[w] is not zero
	n     int    // how many slots are members
}

// slotSet is a set of integers below a fixed bound. It adds, removes and finds the next member in constant time (one step
// for each factor of 64 in the bound) and takes memory only where it is neither empty nor full.
type slotSet struct {
	pages []*page
	full  []uint64 // bit p is set when page p has every slot; then pages[p] is nil
	// some[0] has a bit for each page that has a member, and some[k] one for each word of some[k-1] that is not zero.
	// The last level is one word.
	some [][]uint64
	n    uint64
	// spare is a page that was given up. A set at the brink of empty or full, as the free addresses of a crowded pool
	// are, would else allocate a page for each change.
	spare *page
}

// newSlotSet returns an empty set of integers below bound.
func newSlotSet(bound uint64) *slotSet {
	n := (bound + pageSlots - 1) >> pageShift
	s := &slotSet{pages: make([]*page, n), full: make([]uint64, (n+63)/64)}
	for {
		n = (n + 63) / 64
		s.some = append(s.some, make([]uint64, n))
		if n <= 1 {
			return s
		}
	}
}

func (s *slotSet) isFull(p uint64) bool { return s.full[p>>6]>>(p&63)&1 != 0 }

// word returns the 64 slots from i&^63.
func (s *slotSet) word(i uint64) uint64 {
	p := i >> pageShift
	if pg := s.pages[p]; pg != nil {
		return pg.words[i>>6%pageWords]
	}
	if s.isFull(p) {
		return allOnes
	}
	return 0
}

func (s *slotSet) has(i uint64) bool { return s.word(i)>>(i&63)&1 != 0 }

// add reports whether i was not a member yet.
func (s *slotSet) add(i uint64) bool { return s.set(i>>6, 1<<(i&63)) != 0 }

// remove reports whether i was a member.
func (s *slotSet) remove(i uint64) bool { return s.clear(i>>6, 1<<(i&63)) != 0 }

// addRange adds first to last, both included, and returns how many were not members yet.
func (s *slotSet) addRange(first, last uint64) uint64 {
	return s.eachWord(first, last, s.setPage, s.set)
}

// removeRange removes first to last, both included, and returns how many were members.
func (s *slotSet) removeRange(first, last uint64) uint64 {
	return s.eachWord(first, last, s.clearPage, s.clear)
}

// eachWord applies byPage to each whole page from first to last and byWord to the words of the rest.
func (s *slotSet) eachWord(first, last uint64, byPage func(p uint64) int, byWord func(w, mask uint64) int) (changed uint64) {
	for i := first; i <= last; {
		if i%pageSlots == 0 && last-i >= pageSlots-1 {
			changed += uint64(byPage(i >> pageShift))
			i += pageSlots
			continue
		}
		mask := allOnes << (i & 63)
		end := i | 63
		if end > last {
			mask &= allOnes >> (63 - last&63)
		}
		changed += uint64(byWord(i>>6, mask))
		i = end + 1
	}
	return changed
}

// set adds the slots of mask in word w and returns how many are new.
func (s *slotSet) set(w, mask uint64) int {
	p := w / pageWords
	pg := s.pages[p]
	if pg == nil {
		if s.isFull(p) {
			return 0
		}
		pg = s.takePage()
		*pg = page{}
		s.pages[p] = pg
		s.mark(p)
	}
	word := &pg.words[w%pageWords]
	n := bits.OnesCount64(mask &^ *word)
	*word |= mask
	pg.used |= 1 << (w % pageWords)
	pg.n += n
	s.n += uint64(n)
	if pg.n == pageSlots {
		s.pages[p], s.spare = nil, pg
		s.full[p>>6] |= 1 << (p & 63)
	}
	return n
}

// clear removes the slots of mask in word w and returns how many were members.
func (s *slotSet) clear(w, mask uint64) int {
	p := w / pageWords
	pg := s.pages[p]
	if pg == nil {
		if !s.isFull(p) {
			return 0
		}
		pg = s.takePage()
		pg.used, pg.n = allOnes, pageSlots
		for i := range pg.words {
			pg.words[i] = allOnes
		}
		s.pages[p] = pg
		s.full[p>>6] &^= 1 << (p & 63)
	}
	word := &pg.words[w%pageWords]
	n := bits.OnesCount64(mask & *word)
	*word &^= mask
	if *word == 0 {
		pg.used &^= 1 << (w % pageWords)
	}
	pg.n -= n
	s.n -= uint64(n)
	if pg.n == 0 {
		s.pages[p], s.spare = nil, pg
		s.unmark(p)
	}
	return n
}

// setPage adds every slot of page p and returns how many are new.
func (s *slotSet) setPage(p uint64) int {
	n := pageSlots - s.pageLen(p)
	s.pages[p] = nil
	s.full[p>>6] |= 1 << (p & 63)
	s.mark(p)
	s.n += uint64(n)
	return n
}

// clearPage removes every slot of page p and returns how many were members.
func (s *slotSet) clearPage(p uint64) int {
	n := s.pageLen(p)
	if n > 0 {
		s.pages[p] = nil
		s.full[p>>6] &^= 1 << (p & 63)
		s.unmark(p)
		s.n -= uint64(n)
	}
	return n
}

func (s *slotSet) pageLen(p uint64) int {
	switch {
	case s.pages[p] != nil:
		return s.pages[p].n
	case s.isFull(p):
		return pageSlots
	default:
		return 0
	}
}

// takePage returns a page with anything in it.
func (s *slotSet) takePage() *page {
	if pg := s.spare; pg != nil {
		s.spare = nil
		return pg
	}
	return new(page)
}

// mark notes that page p has a member.
func (s *slotSet) mark(p uint64) {
	for _, level := range s.some {
		level[p>>6] |= 1 << (p & 63)
		p >>= 6
	}
}

// unmark notes that page p has none.
func (s *slotSet) unmark(p uint64) {
	for _, level := range s.some {
		level[p>>6] &^= 1 << (p & 63)
		if level[p>>6] != 0 {
			return
		}
		p >>= 6
	}
}

// next returns the lowest member that is i or more.
func (s *slotSet) next(i uint64) (uint64, bool) {
	p := i >> pageShift
	if p >= uint64(len(s.pages)) {
		return 0, false
	}
	if pg := s.pages[p]; pg != nil {
		w := i >> 6 % pageWords
		if rest := pg.words[w] >> (i & 63); rest != 0 {
			return i + uint64(bits.TrailingZeros64(rest)), true
		}
		if rest := pg.used &^ (allOnes >> (63 - w)); rest != 0 {
			return pg.lowest(p, bits.TrailingZeros64(rest)), true
		}
	} else if s.isFull(p) {
		return i, true
	}
	p, ok := s.nextPage(p + 1)
	if !ok {
		return 0, false
	}
	if pg := s.pages[p]; pg != nil {
		return pg.lowest(p, bits.TrailingZeros64(pg.used)), true
	}
	return p << pageShift, true
}

// lowest returns the lowest slot of word w of the page, whose number is p.
func (pg *page) lowest(p uint64, w int) uint64 {
	return p<<pageShift | uint64(w)<<6 | uint64(bits.TrailingZeros64(pg.words[w]))
}

// nextPage returns the lowest page that is p or more and has a member.
func (s *slotSet) nextPage(p uint64) (uint64, bool) {
	i := p // the index of a bit on level k
	for k := range s.some {
		w := i >> 6
		if w >= uint64(len(s.some[k])) {
			return 0, false
		}
		if rest := s.some[k][w] >> (i & 63); rest != 0 {
			i += uint64(bits.TrailingZeros64(rest))
			for ; k > 0; k-- {
				i = i<<6 | uint64(bits.TrailingZeros64(s.some[k-1][i]))
			}
			return i, true
		}
		i = w + 1
	}
	return 0, false
}
