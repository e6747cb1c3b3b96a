package usagelog

import (
	"context"
	"fmt"
	"time"
)

// Limits bound a [Chunk]. The zero value bounds nothing.
type Limits struct {
	// Subjects are at most how many; 0: as many as there are.
	Subjects int
	// Span is how far apart the times of the readings may lie that count; 0: as far as they do.
	Span time.Duration
}

// Chunk is what subjects used between two positions.
type Chunk struct {
	// Span is the times of the readings: from the last before the first that counts, to the latest that does. Where the clock
	// was set it may overlap with others'.
	Span Span
	// Usages are the subjects that used anything, ordered by kind, name and sequence.
	Usages []Usage
	// Next is where the next chunk begins. More: there is one already.
	Next Position
	More bool
	// Lost: what was used after the position that was given is not known in full, and will not be: it is past the retention, or
	// the log is not the one, or not as whole, as when it was read up to there. Nothing of it counts, in this chunk or another, that
	// might have counted before.
	Lost bool
	// Damage is what could not be read; what it held counts with the next readings that can be.
	Damage []Damage
}

// After returns what each subject that match accepts, or each with nil, used after a position, in the order of appending and
// within limits: chunks that follow each other, each from the Next of the one before, have each byte once that Usage has for
// all time, whatever the clock did, across restarts and changes of segments. That holds for the same match alone. Each
// chunk costs the reading of its segment from the beginning. Errors match [ErrInvalid], [ErrClosed], or are of type [*Error].
func (l *Log) After(ctx context.Context, after Position, limits Limits, match func(Subject) bool) (Chunk, error) {
	chunk, err := source(l.snapshot).after(ctx, l.dir, after, limits, match)
	return chunk, explain("read", l.dir, err)
}

// Between is what After answered once, when it was asked with the position and answered with that Next: for somebody who has
// kept the two, and not the answer. Lost says also that it is not the same, as the log was damaged or has retired what it
// held: then it may be less, but not more. Errors are as of After.
func (l *Log) Between(ctx context.Context, after, upTo Position, match func(Subject) bool) (Chunk, error) {
	chunk, err := source(l.snapshot).between(ctx, l.dir, after, upTo, match)
	return chunk, explain("read", l.dir, err)
}

// After is like [Log.After].
func (r *Reader) After(ctx context.Context, after Position, limits Limits, match func(Subject) bool) (Chunk, error) {
	chunk, err := source(r.list).after(ctx, r.dir, after, limits, match)
	return chunk, explain("read", r.dir, err)
}

// Between is like [Log.Between].
func (r *Reader) Between(ctx context.Context, after, upTo Position, match func(Subject) bool) (Chunk, error) {
	chunk, err := source(r.list).between(ctx, r.dir, after, upTo, match)
	return chunk, explain("read", r.dir, err)
}

func (src source) after(
	ctx context.Context, dir string, after Position, limits Limits, match func(Subject) bool,
) (Chunk, error) {
	if limits.Subjects < 0 || limits.Span < 0 {
		return Chunk{}, fmt.Errorf("%w: limits %+v: use none below 0", ErrInvalid, limits)
	}
	list, err := src()
	if err != nil {
		return Chunk{}, err
	}
	w := newWalk(after, match)
	w.limits = limits
	return w.chunk(ctx, dir, list)
}

func (src source) between(ctx context.Context, dir string, after, upTo Position, match func(Subject) bool) (Chunk, error) {
	if upTo.doubt { // nothing counted
		return Chunk{Next: upTo, Lost: !after.doubt}, nil
	}
	if after.compare(upTo) > 0 {
		return Chunk{}, fmt.Errorf("%w: the position %q is after %q", ErrInvalid, after, upTo)
	}
	list, err := src()
	if err != nil {
		return Chunk{}, err
	}
	w := newWalk(after, match)
	w.upTo = &upTo
	chunk, err := w.chunk(ctx, dir, list)
	if err != nil {
		return Chunk{}, err
	}
	chunk.Lost = chunk.Lost || chunk.Next != upTo
	chunk.Next, chunk.More = upTo, false
	return chunk, nil
}
