package audit

import (
	"context"
	"slices"
	"time"
)

// maxLate is how many results wait for a disk that takes nothing; it is more than a server has requests under way.
const maxLate = 4096

// batch is records that are written together.
type batch struct {
	records []*Record
	done    chan struct{}
	err     error
}

// append writes a record and returns when it is on the disk. Who begins a batch writes it, after the one before; until then
// others join it. A context that is done stops only what has not begun.
func (l *Log) append(ctx context.Context, r *Record) error {
	if ctx.Err() != nil {
		return explain("append to", l.dir, context.Cause(ctx))
	}
	r.bound()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return explain("append to", l.dir, ErrClosed)
	}
	b, leads := l.next, l.next == nil
	if leads {
		b = &batch{done: make(chan struct{})}
		l.next = b
	}
	b.records = append(b.records, r)
	l.mu.Unlock()
	if leads {
		l.lead(b)
	}
	<-b.done
	return explain("append to", l.dir, b.err)
}

// lead writes a batch, and with it what is late.
func (l *Log) lead(b *batch) {
	defer close(b.done)
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	l.next = nil
	records := slices.Concat(l.late, b.records)
	l.late = nil
	l.mu.Unlock()
	b.err = l.write(records)
}

// write appends records, and keeps those that tell of what has happened if it cannot. The caller holds writing.
func (l *Log) write(records []*Record) error {
	retained, err := l.w.append(time.Now(), records)
	if retained != nil {
		l.opts.Logger.Warn("old segments of the audit log not deleted", "error", retained)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = l.w.head
	if err == nil {
		return nil
	}
	for _, r := range records {
		switch {
		case r.Kind == KindIntent || r.Kind == KindRefusal:
		case len(l.late) == maxLate:
			l.opts.Logger.Error("record lost, as the audit log fails", "kind", r.Kind, "of", r.Of, "outcome", r.Outcome)
		default:
			l.late = append(l.late, r)
		}
	}
	return err
}

// keep rotates and deletes segments when it is time, and tells of refusals that have no record each, and of heads.
func (l *Log) keep(told Head) {
	at := time.Now()
	ticker := time.NewTicker(refusalWindow)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case now := <-ticker.C:
			l.tidy(now)
			if head := l.Head(); head != told && now.Sub(at) >= headPeriod {
				l.opts.Logger.Info("audit log has grown", headKey, head)
				told, at = head, now
			}
		}
	}
}

func (l *Log) tidy(now time.Time) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	records := slices.Concat(l.late, l.refusals.take(now))
	l.late = nil
	l.mu.Unlock()
	if err := l.write(records); err != nil {
		l.opts.Logger.Error("audit log fails", "error", err)
	}
}
