package usagelog

import (
	"context"
	"slices"
)

// question is what is asked of a log: growth in the steps between bounds, which ascend.
type question struct {
	bounds []int64
	match  func(Subject) bool
}

// answer is what the log said.
type answer struct {
	subjects map[Subject]*subjectState
	// spans are what each step really covers.
	spans  []Span
	damage []Damage
}

// coverage finds out from the times of complete readings what steps really cover.
type coverage struct {
	bounds []int64
	// last is the latest time up to each bound, after the one before; -1: none.
	last []int64
	// first is the earliest time of all; -1: none.
	first int64
}

func newCoverage(bounds []int64) *coverage {
	c := &coverage{bounds: bounds, last: make([]int64, len(bounds)), first: -1}
	for i := range c.last {
		c.last[i] = -1
	}
	return c
}

func (c *coverage) add(at int64) {
	if c.first < 0 || at < c.first {
		c.first = at
	}
	if i, _ := slices.BinarySearch(c.bounds, at); i < len(c.bounds) {
		c.last[i] = max(c.last[i], at)
	}
}

func (c *coverage) spans() []Span {
	spans := make([]Span, len(c.bounds)-1)
	for i := range spans {
		c.last[i+1] = max(c.last[i+1], c.last[i])
		from, to := c.last[i], c.last[i+1]
		if from < 0 {
			from = c.first
		}
		spans[i] = spanOf(from, to)
	}
	return spans
}

// ask reads the segments that a question needs, of which list has all.
func ask(ctx context.Context, dir string, list []segment, q question) (*answer, error) {
	from, to := q.bounds[0], q.bounds[len(q.bounds)-1]
	full, rest, err := choose(ctx, dir, list, from, to)
	if err != nil {
		return nil, err
	}
	a := new(answer)
	// The end of what another process may be writing to is no damage.
	var open uint64
	if n := len(list); n > 0 && list[n-1].limit < 0 {
		open = list[n-1].index
	}
	cover := newCoverage(q.bounds)
	r := newReplay()
	r.match = q.match
	r.grew = func(s *subjectState, growth Counters, at int64) {
		step, _ := slices.BinarySearch(q.bounds, at)
		if step == 0 || step == len(q.bounds) {
			return
		}
		if s.steps == nil {
			s.steps = make([]Counters, len(q.bounds)-1)
		}
		s.steps[step-1] = s.steps[step-1].Add(growth)
	}
	for i, s := range append(full, rest...) {
		r.begin()
		damage, err := s.read(ctx, dir, func(f *frame) error {
			if i >= len(full) && f.flags&flagBase == 0 && f.at > to {
				return errStop
			}
			r.apply(f)
			if f.flags&(flagAll|flagLast) == flagAll|flagLast {
				cover.add(f.at)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		a.damage = append(a.damage, slices.DeleteFunc(damage, func(d Damage) bool { return d.End && s.index == open })...)
	}
	a.subjects, a.spans = r.subjects, cover.spans()
	return a, nil
}

// choose returns the segments to read in full for the time after from, up to to; and the one after them, if any, which may
// begin with a base that tells what damage hid in the last, or with a frame at to.
func choose(ctx context.Context, dir string, list []segment, from, to int64) (full, rest []segment, err error) {
	if len(list) == 0 {
		return nil, nil, nil
	}
	first := slices.IndexFunc(list, func(s segment) bool { return s.end() > from })
	if first < 0 {
		first = len(list) - 1
	}
	for ; first > 0; first-- {
		whole, err := list[first].hasBase(ctx, dir)
		if err != nil {
			return nil, nil, err
		}
		if whole {
			break
		}
	}
	last := len(list) - 1
	for last > first && list[last].begin() >= to {
		last--
	}
	return slices.Clone(list[first : last+1]), list[last+1 : min(last+2, len(list))], nil
}
