package htb

// slot is a class of a pool.
type slot struct {
	class, parent Class
	group         bool // claimed as a group, or has leaves
	claimed       bool
	ready         bool
	claimedLeaves int
	leaves        int     // slots below
	below         []Class // and which
	free          leafLists
	in            *list // the list that a free slot is in
	at            int
}

// leafLists are free leaves with the same parent; the ready ones are claimed first.
type leafLists struct{ ready, cold list }

type list struct{ slots []*slot }

func (l *list) add(s *slot) {
	s.in, s.at = l, len(l.slots)
	l.slots = append(l.slots, s)
}

func (s *slot) unlist() {
	if s.in == nil {
		return
	}
	l := s.in
	last := l.slots[len(l.slots)-1]
	l.slots[s.at], last.at = last, s.at
	l.slots[len(l.slots)-1] = nil
	l.slots = l.slots[:len(l.slots)-1]
	s.in = nil
}

func (l *list) last() *slot {
	if len(l.slots) == 0 {
		return nil
	}
	return l.slots[len(l.slots)-1]
}

func (f *leafLists) best() *slot {
	if s := f.ready.last(); s != nil {
		return s
	}
	return f.cold.last()
}
