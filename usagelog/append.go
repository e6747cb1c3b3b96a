package usagelog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Append adds the readings of all subjects that there are, made at one time; those that it leaves out are gone. It returns
// when they are on the disk. After an error the log is as it was, unless the error matches [ErrRetained], and what was not
// appended comes with the next: there is nothing to repeat. A context that is done stops it only before it has begun.
//
// A counter that is lower than one before is taken for the one before; of readings that name a subject twice, the higher
// counts. Errors match [ErrInvalid], [ErrClosed], [ErrRetained], or are of type [*Error] with what the system says.
func (l *Log) Append(ctx context.Context, at time.Time, readings []Reading) error {
	return l.append(ctx, at, readings, flagAll)
}

// AppendSome adds the readings of some subjects, and says nothing of the others: the last of a peer that is being removed.
// In all else it is like Append.
func (l *Log) AppendSome(ctx context.Context, at time.Time, readings []Reading) error {
	return l.append(ctx, at, readings, 0)
}

func (l *Log) append(ctx context.Context, at time.Time, readings []Reading, flags byte) error {
	now, err := instant(at)
	for i := 0; err == nil && i < len(readings); i++ {
		err = readings[i].Subject.validate()
	}
	if err != nil {
		return explain("append to", l.dir, err)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	list, err := l.snapshot()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return explain("append to", l.dir, err)
	}
	return explain("append to", l.dir, l.write(list, head{flags: flags, at: now}, readings))
}

// write appends to the last segment, or begins another. The caller holds writing.
func (l *Log) write(list []segment, h head, readings []Reading) error {
	w := &l.w
	h.known = w.known
	w.prepare(readings)
	if len(w.subjects) > maxIDs {
		w.undo()
		return fmt.Errorf("%w: more than %d subjects", ErrInvalid, maxIDs)
	}
	var retained error
	if !w.continues(h.at) {
		next := segment{index: w.segment.index + 1, day: dayOf(h.at)}
		list, retained = retire(l.dir, append(list, next), l.opts.Retention)
		list = list[:len(list)-1] // next is young, and is not there yet
		l.publish(list)
		if err := w.begin(next, h); err != nil {
			w.undo()
			return errors.Join(err, retained)
		}
		list = append(list, next)
	} else if err := w.extend(h); err != nil {
		w.undo()
		return err
	}
	w.settle(h)
	list[len(list)-1].limit = w.size
	l.publish(list)
	return retained
}

func (l *Log) publish(list []segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = slices.Clone(list)
}

// continues reports whether what was prepared goes into the segment that is open.
func (w *writer) continues(at int64) bool {
	return w.file != nil && dayOf(at) == w.segment.day && w.nextID+uint64(len(w.changed)) <= maxIDs
}

// extend appends what was prepared to the segment.
func (w *writer) extend(h head) error {
	if w.dirty {
		if err := w.file.Truncate(w.size); err != nil {
			return fmt.Errorf("take back what a failed append left: %w", err)
		}
		w.dirty = false
	}
	p := packer{buf: w.buf[:0], head: h}
	w.pack(&p)
	w.buf = p.finish()
	_, err := w.file.WriteAt(w.buf, w.size)
	if err == nil && w.sync {
		err = w.file.Sync()
	}
	if err != nil {
		w.dirty = true
		if undo := w.file.Truncate(w.size); undo == nil {
			w.dirty = false
		}
		return err
	}
	w.size += int64(len(w.buf))
	return nil
}

// begin goes on to a segment: its base is all that is known, and what was prepared follows.
func (w *writer) begin(s segment, h head) error {
	if err := w.close(); err != nil {
		return err
	}
	base := head{flags: flagBase, at: w.at, known: w.known}
	if w.allAt >= 0 {
		base.at, base.flags = w.allAt, flagBase|flagAll
	}
	w.segment, w.nextID, w.index = s, 0, s.index
	p := packer{buf: appendHeader(w.buf[:0]), head: base}
	if w.at >= 0 {
		p.open()
		for _, t := range w.inOrder() {
			p.define(w.define(t, t.counters))
		}
		p.finish()
	}
	p.head = h
	w.pack(&p)
	w.buf = p.finish()
	file, err := createSegment(w.dir, s, w.buf)
	if err != nil {
		return err
	}
	w.file, w.size, w.dirty = file, int64(len(w.buf)), false
	return nil
}
