// Package spell counts things that go wrong now and then, and says since when they do: each time within a rest of the one
// before belongs to the same spell. It starts nothing and needs no privilege.
//
//	var lost spell.Spell // guarded by the caller's lock
//	lost.Note(time.Now(), 10*time.Minute)
//	if since, n := lost.At(time.Now(), 10*time.Minute); n > 0 {
//		fmt.Println("lost", n, "times since", since)
//	}
package spell

import "time"

// Spell is a row of occurrences. The zero value is one without any. It is not safe for concurrent use.
type Spell struct {
	first, last time.Time
	n           int
}

// Note adds an occurrence. If the one before is a rest ago or more, another spell begins.
func (s *Spell) Note(now time.Time, rest time.Duration) {
	if s.n == 0 || now.Sub(s.last) >= rest {
		*s = Spell{first: now}
	}
	s.last = now
	s.n++
}

// End ends the spell.
func (s *Spell) End() { *s = Spell{} }

// At returns when the spell began, and of how many occurrences it is; 0 when the last one is a rest ago or more.
func (s Spell) At(now time.Time, rest time.Duration) (since time.Time, n int) {
	if s.n == 0 || now.Sub(s.last) >= rest {
		return time.Time{}, 0
	}
	return s.first, s.n
}
