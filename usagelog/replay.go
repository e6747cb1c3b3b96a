package usagelog

// subjectState is what a replay knows of a subject.
type subjectState struct {
	subject Subject
	// counters are the highest yet.
	counters Counters
	// since is the time of the first reading if what was used before it is not known, else -1.
	since int64
	// steps are the sums of growth that the replay's owner keeps; nil: none yet.
	steps []Counters
}

// definition is what an id stands for in the segment that is being read.
type definition struct {
	state    *subjectState // nil: nothing, or a subject that nobody asks for
	counters Counters
}

// replay follows the counters of subjects through frames in the order in which they were appended.
type replay struct {
	// match says which subjects are asked for; nil: all.
	match func(Subject) bool
	// grew is called with each growth of a subject's counters, and the time at which it counts; it may be nil.
	grew func(s *subjectState, growth Counters, at int64)

	subjects map[Subject]*subjectState
	ids      []definition
	// floor is the highest sequence of which counters may not be known when the replay begins: a subject above it was added
	// later, with counters of zero.
	floor uint64
	// known is the highest sequence that had been seen when all subjects were read last, and highest the highest of all.
	known, highest uint64
	// at is the time of the last frame, and allAt that of the last Append of all subjects; -1: none.
	at, allAt int64
}

func newReplay() *replay {
	return &replay{subjects: make(map[Subject]*subjectState), floor: unknown, known: unknown, at: -1, allAt: -1}
}

// begin goes on to another segment.
func (r *replay) begin() { r.ids = r.ids[:0] }

// apply follows one frame.
func (r *replay) apply(f *frame) {
	r.enter(f)
	for i := range f.size() {
		r.follow(f, i)
	}
	r.leave(f)
}

// enter begins with a frame.
func (r *replay) enter(f *frame) {
	if r.floor == unknown {
		r.floor = f.known
	}
	if f.known != unknown {
		r.known, r.highest = f.known, max(r.highest, f.known)
	}
}

// follow follows one of a frame's entries, of which those that define an id come first.
func (r *replay) follow(f *frame, i int) {
	if i < len(f.defines) {
		r.define(f.at, &f.defines[i])
	} else {
		r.entry(f.at, f.entries[i-len(f.defines)])
	}
}

// leave ends with a frame.
func (r *replay) leave(f *frame) {
	r.at = f.at
	if f.flags&(flagAll|flagLast) != flagAll|flagLast {
		return
	}
	r.allAt = f.at
	if f.flags&flagBase == 0 {
		r.known = r.highest
		r.floor = min(r.floor, r.known)
	}
}

// entry follows one entry. An id that stands for nothing lost its definition to damage, which is reported where it is.
func (r *replay) entry(at int64, e entry) {
	if e.id >= uint64(len(r.ids)) {
		return
	}
	if d := r.ids[e.id]; d.state != nil {
		r.read(d.state, d.counters.Add(e.counters), at)
	}
}

// define follows a definition, which is a reading too.
func (r *replay) define(at int64, e *defining) {
	r.highest = max(r.highest, e.subject.Sequence)
	for uint64(len(r.ids)) <= e.id {
		r.ids = append(r.ids, definition{})
	}
	s, ok := r.subjects[e.subject]
	if !ok {
		if r.match != nil && !r.match(e.subject) {
			return
		}
		s = &subjectState{subject: e.subject, since: -1}
		if e.subject.Sequence <= r.floor {
			s.since, s.counters = at, e.counters
		}
		r.subjects[e.subject] = s
	}
	r.ids[e.id] = definition{s, e.counters}
	r.read(s, e.counters, at)
}

// read follows a reading: only what is above the highest yet has passed since.
func (r *replay) read(s *subjectState, counters Counters, at int64) {
	counters = counters.highest(s.counters)
	if counters == s.counters {
		return
	}
	growth := counters.above(s.counters)
	s.counters = counters
	if r.grew != nil {
		r.grew(s, growth, at)
	}
}
