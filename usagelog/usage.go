package usagelog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Span is the time that usage covers: from one reading of all subjects to another. The zero Span, and one that ends where it
// begins, cover nothing: nothing is known. Where the clock was set back, it may begin earlier than it could.
type Span struct {
	From, To time.Time
}

// spanOf makes a span of the times of frames; -1 is none.
func spanOf(from, to int64) Span {
	if from < 0 || to < from {
		return Span{}
	}
	return Span{time.Unix(0, from).UTC(), time.Unix(0, to).UTC()}
}

// after is the part of the span that lies after a time.
func (s Span) after(at int64) Span {
	switch begin := time.Unix(0, at).UTC(); {
	case !begin.After(s.From):
		return s
	case begin.After(s.To):
		return Span{}
	default:
		return Span{begin, s.To}
	}
}

// Usage is what one subject used.
type Usage struct {
	Subject Subject
	// Span is what Counters really cover. It begins after that of the others if the subject's usage before it is not known.
	Span Span
	// Counters are bytes in that time.
	Counters Counters
}

// Summary is what subjects used in one span.
type Summary struct {
	// Span is what the sums really cover.
	Span Span
	// Usages are the subjects that used anything, ordered by kind, name and sequence.
	Usages []Usage
	// Damage is what could not be read; what it held counts later, or with the summary's last readings.
	Damage []Damage
}

// Named returns the usages of the subjects that have a name, and of those that share a sequence number with one of them: of a
// peer that was given another key, what it used under the other. A name under which nothing was used joins nothing.
func (s Summary) Named(kind Kind, name string) []Usage {
	named := make(map[uint64]bool)
	for _, u := range s.Usages {
		if u.Subject.Kind == kind && u.Subject.Name == name {
			named[u.Subject.Sequence] = true
		}
	}
	var usages []Usage
	for _, u := range s.Usages {
		if u.Subject.Kind == kind && named[u.Subject.Sequence] {
			usages = append(usages, u)
		}
	}
	return usages
}

// Series is what one subject used, step by step.
type Series struct {
	Subject Subject
	// Steps are one less than the bounds that were asked for.
	Steps []Step
	// Damage is as in [Summary].
	Damage []Damage
}

// Step is one step of a series. Its Span may cover nothing; then what was used, if anything, counts in a later step.
type Step struct {
	Span     Span
	Counters Counters
}

// MaxSteps is how many steps a series can have: more than the hours of ten years.
const MaxSteps = 100_000

// Steps returns bounds for a series: from, and every step after it, up to and with to. Days of a time zone whose clock
// changes are not steps of one length: for those, a caller makes bounds with [time.Date]. Errors match [ErrInvalid].
func Steps(from, to time.Time, step time.Duration) ([]time.Time, error) {
	if step <= 0 || !from.Before(to) {
		return nil, fmt.Errorf("usagelog: %w: steps of %v from %v to %v", ErrInvalid, step, from, to)
	}
	if to.Sub(from)/step >= MaxSteps {
		return nil, fmt.Errorf("usagelog: %w: from %v to %v are more than %d steps of %v", ErrInvalid, from, to, MaxSteps, step)
	}
	var bounds []time.Time
	for at := from; at.Before(to); at = at.Add(step) {
		bounds = append(bounds, at)
	}
	return append(bounds, to), nil
}

// source is where a question finds its segments.
type source func() ([]segment, error)

// instants checks the bounds of a question.
func instants(bounds ...time.Time) ([]int64, error) {
	if len(bounds) < 2 || len(bounds) > MaxSteps+1 {
		return nil, fmt.Errorf("%w: %d bounds: use 2 to %d", ErrInvalid, len(bounds), MaxSteps+1)
	}
	var times []int64
	for i, at := range bounds {
		if i > 0 && !bounds[i-1].Before(at) {
			return nil, fmt.Errorf("%w: the bound %v is not after the one before, %v", ErrInvalid, at, bounds[i-1])
		}
		times = append(times, bound(at))
	}
	return times, nil
}

func (src source) usage(ctx context.Context, dir string, from, to time.Time, match func(Subject) bool) (Summary, error) {
	bounds, err := instants(from, to)
	if err != nil {
		return Summary{}, err
	}
	list, err := src()
	if err != nil {
		return Summary{}, err
	}
	a, err := ask(ctx, dir, list, question{bounds, match})
	if err != nil {
		return Summary{}, err
	}
	summary := Summary{Span: a.spans[0], Damage: a.damage}
	for _, subject := range slices.SortedFunc(maps.Keys(a.subjects), compareSubjects) {
		if s := a.subjects[subject]; s.steps != nil {
			summary.Usages = append(summary.Usages, Usage{subject, summary.Span.after(s.since), s.steps[0]})
		}
	}
	return summary, nil
}

func (src source) series(ctx context.Context, dir string, subject Subject, times []time.Time) (Series, error) {
	bounds, err := instants(times...)
	if err == nil {
		err = subject.validate()
	}
	if err != nil {
		return Series{}, err
	}
	list, err := src()
	if err != nil {
		return Series{}, err
	}
	a, err := ask(ctx, dir, list, question{bounds, func(s Subject) bool { return s == subject }})
	if err != nil {
		return Series{}, err
	}
	series := Series{Subject: subject, Steps: make([]Step, len(bounds)-1), Damage: a.damage}
	s := a.subjects[subject]
	for i := range series.Steps {
		step := &series.Steps[i]
		step.Span = a.spans[i]
		if s == nil {
			continue
		}
		step.Span = step.Span.after(s.since)
		if s.steps != nil {
			step.Counters = s.steps[i]
		}
	}
	return series, nil
}

// Usage returns what each subject that match accepts, or each with nil, used after from, up to to. Its memory grows with
// the subjects, not with the span. It may run beside Append, and answers for what was there when it began. Errors match
// [ErrInvalid], [ErrClosed], or are of type [*Error].
func (l *Log) Usage(ctx context.Context, from, to time.Time, match func(Subject) bool) (Summary, error) {
	summary, err := source(l.snapshot).usage(ctx, l.dir, from, to, match)
	return summary, explain("read", l.dir, err)
}

// Series returns what one subject used between bounds, which ascend: after each, up to the next. [Steps] makes those of
// hours or days. A subject that the log does not have used nothing. Errors are as of Usage.
func (l *Log) Series(ctx context.Context, subject Subject, bounds []time.Time) (Series, error) {
	series, err := source(l.snapshot).series(ctx, l.dir, subject, bounds)
	return series, explain("read", l.dir, err)
}

// Reader reads the log of a directory that another process may be writing to. It holds nothing open between questions.
type Reader struct {
	dir string
}

// OpenReader returns a reader of a directory, which must exist. Errors are of type [*Error].
func OpenReader(dir string) (*Reader, error) {
	r := &Reader{dir}
	if _, err := r.list(); err != nil {
		return nil, explain("read", dir, err)
	}
	return r, nil
}

func (r *Reader) list() ([]segment, error) { return listSegments(r.dir) }

// Usage is like [Log.Usage]. What follows the last frame that is whole may be an Append under way, and is not reported.
func (r *Reader) Usage(ctx context.Context, from, to time.Time, match func(Subject) bool) (Summary, error) {
	summary, err := source(r.list).usage(ctx, r.dir, from, to, match)
	return summary, explain("read", r.dir, err)
}

// Series is like [Log.Series].
func (r *Reader) Series(ctx context.Context, subject Subject, bounds []time.Time) (Series, error) {
	series, err := source(r.list).series(ctx, r.dir, subject, bounds)
	return series, explain("read", r.dir, err)
}
