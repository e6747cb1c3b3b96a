package usagelog

import (
	"context"
	"maps"
	"math"
	"slices"
)

// phase is how far a walk has come.
type phase uint8

const (
	// seeking: the walk has not come to where it was to begin.
	seeking phase = iota
	// doubting: it has, or has passed it, and waits for readings of all subjects.
	doubting
	// counting: growth counts.
	counting
	// ended: what follows belongs to another chunk.
	ended
)

// walk goes through frames in the order of appending, and counts from one position to another.
type walk struct {
	after  Position
	upTo   *Position // nil: to the end, within limits
	limits Limits

	r     *replay
	phase phase
	// retired: what lies after the position was deleted for its age up to the first base, after which growth counts.
	retired bool
	lost    bool
	// next is the position behind the last frame, and sum that of all frames since the last base that is whole.
	next Position
	sum  uint32

	sums map[*subjectState]Counters
	// full: the growth that comes now is of one subject too many.
	full bool
	// first is the time of the first frame that counts; -1: none has. From and to are those of the span.
	first, from, to int64
	damage          []Damage
}

func newWalk(after Position, match func(Subject) bool) *walk {
	w := &walk{after: after, r: newReplay(), sums: make(map[*subjectState]Counters), first: -1, from: -1, to: -1}
	w.r.match = match
	w.r.grew = w.grew
	return w
}

// grew counts growth, unless it does not count, or is of one subject too many.
func (w *walk) grew(s *subjectState, growth Counters, _ int64) {
	if w.phase != counting {
		return
	}
	sum, ok := w.sums[s]
	if !ok && w.limits.Subjects > 0 && len(w.sums) == w.limits.Subjects {
		w.full = true
		return
	}
	w.sums[s] = sum.Add(growth)
}

// chunk walks through the segments of a log, of which list has all.
func (w *walk) chunk(ctx context.Context, dir string, list []segment) (Chunk, error) {
	if len(list) == 0 {
		return Chunk{Next: w.after}, nil
	}
	first, err := w.start(ctx, dir, list)
	if err != nil {
		return Chunk{}, err
	}
	for i := first; i < len(list) && w.phase != ended; i++ {
		if err := w.segment(ctx, dir, list[i], i == len(list)-1); err != nil {
			return Chunk{}, err
		}
	}
	if w.phase == seeking || w.phase == doubting {
		w.doubt()
		w.next = w.after
	}
	c := Chunk{Next: w.next, More: w.phase == ended, Lost: w.lost, Damage: w.damage}
	if w.first >= 0 {
		c.Span = spanOf(w.from, w.to)
	}
	bySubject := make(map[Subject]Counters, len(w.sums))
	for s, sum := range w.sums {
		bySubject[s.subject] = sum
	}
	for _, subject := range slices.SortedFunc(maps.Keys(bySubject), compareSubjects) {
		c.Usages = append(c.Usages, Usage{subject, c.Span, bySubject[subject]})
	}
	return c, nil
}

// start finds the segment to begin with: that of the position, or one before it if its base does not tell all that was known.
func (w *walk) start(ctx context.Context, dir string, list []segment) (first int, err error) {
	oldest, last := list[0].index, list[len(list)-1].index
	switch {
	case w.after.IsZero():
		w.phase = counting
		return 0, nil
	case w.after.segment < oldest:
		w.retired = !w.after.doubt
		w.doubt()
		w.after.segment, w.after.offset = oldest, 0
		return 0, nil
	case w.after.segment > last:
		// Another log is here. What follows its end is new.
		w.doubt()
		w.after.segment, w.after.offset = last, math.MaxInt64
	case w.after.doubt:
		w.phase = doubting
	}
	first = slices.IndexFunc(list, func(s segment) bool { return s.index >= w.after.segment })
	if w.after.base && first > 0 {
		first--
	}
	for ; first > 0; first-- {
		whole, err := list[first].hasBase(ctx, dir)
		if err != nil || whole {
			return first, err
		}
	}
	return first, nil
}

// segment walks through a segment.
func (w *walk) segment(ctx context.Context, dir string, s segment, last bool) error {
	w.r.begin()
	whole, err := s.hasBase(ctx, dir)
	if err != nil {
		return err
	}
	if whole {
		w.sum = 0
	}
	var end int64
	damage, err := s.read(ctx, dir, func(f *frame) error {
		if w.stops(s, f) {
			w.phase = ended
			return errStop
		}
		end = f.end
		w.frame(s, f)
		if w.phase == ended {
			return errStop
		}
		return nil
	})
	for _, d := range damage {
		// The end of what another process may be writing to is no damage.
		if !d.End || !last || s.limit >= 0 {
			w.damage = append(w.damage, d)
		}
	}
	if s.index == w.after.segment && w.after.offset > end && (w.phase == seeking || w.phase == doubting) {
		w.doubt()
		w.after.offset = end
	}
	return err
}

// stops reports whether a frame belongs to what follows.
func (w *walk) stops(s segment, f *frame) bool {
	if w.upTo != nil && !w.upTo.reached(s, f) {
		return true
	}
	if w.phase != counting || w.first < 0 || w.limits.Span == 0 {
		return false
	}
	return max(w.to, f.at)-min(w.first, f.at) > int64(w.limits.Span)
}

// frame walks through a frame.
func (w *walk) frame(s segment, f *frame) {
	before := w.next
	w.sum = chain(w.sum, f)
	w.next = Position{segment: s.index, offset: f.end, sum: w.sum, base: f.flags&(flagBase|flagLast) == flagBase}
	begin, end := 0, f.size()
	if w.phase == seeking && !w.after.reached(s, f) {
		w.doubt()
	}
	here := w.phase == seeking && w.after.is(s, f)
	if here && (w.next.sum != w.after.sum || w.after.left > end) {
		w.doubt()
		here = false
	}
	if here {
		begin = end - w.after.left
	}
	if w.upTo != nil && w.upTo.is(s, f) {
		end = max(begin, end-w.upTo.left)
		if w.next.left = f.size() - end; w.next.left > 0 {
			w.next.base = f.flags&flagBase != 0
		}
	}
	previous := w.r.at
	w.r.enter(f)
	for i := range begin {
		w.r.follow(f, i)
	}
	if here {
		w.phase = counting
	}
	for i := begin; i < end; i++ {
		if w.r.follow(f, i); w.full {
			w.stopWithin(f, i, before)
			return
		}
		if w.phase == counting && i == begin {
			w.counts(previous, f.at)
		}
	}
	w.r.leave(f)
	if w.phase == doubting && !w.after.reached(s, f) && w.certain(f) {
		w.phase = counting
	}
}

// stopWithin ends the chunk before an entry of a frame.
func (w *walk) stopWithin(f *frame, entry int, before Position) {
	w.phase = ended
	w.next.left = f.size() - entry
	w.next.base = f.flags&flagBase != 0
	if entry == 0 {
		w.next = before
	}
}

// counts notes that growth up to a time counts, since the time of the frame before.
func (w *walk) counts(previous, at int64) {
	if w.first < 0 {
		w.first, w.from, w.to = at, at, at
		if previous >= 0 {
			w.from = previous
		}
	}
	w.from, w.to = min(w.from, at), max(w.to, at)
}

// doubt notes that the log is not what was read up to the position.
func (w *walk) doubt() {
	w.phase = doubting
	if !w.after.doubt {
		w.lost = true
		w.after = Position{segment: w.after.segment, offset: w.after.offset, doubt: true}
	}
}

// certain reports whether the counters of all subjects are now at least those that anybody can have read before, so that what
// follows has never counted: when all were read since, or where the first base that is left says what they were.
func (w *walk) certain(f *frame) bool {
	if !f.whole || f.flags&flagLast == 0 {
		return false
	}
	return f.flags&(flagAll|flagBase) == flagAll || w.retired && f.flags&flagBase != 0
}
