package wgnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/waylume/waylume/usagelog"
)

const (
	// logPatience is how long the usage log may hold up a change, and a start.
	logPatience = time.Second
	// logRetryDelay is how long after a failure the usage log is written to again.
	logRetryDelay = time.Minute
	// maxUnwritten is how many last readings are kept for a log that fails.
	maxUnwritten = 1 << 16
)

// usageWriter hands readings to a usage log, from a goroutine that lives while there is something to write, so that a log that
// hangs holds up nobody for longer than logPatience.
type usageWriter struct {
	log    UsageLog
	logger *slog.Logger
	report func(error)

	mu sync.Mutex
	// waiting is what the goroutine writes next; nil: nothing.
	waiting *usageBatch
	// unwritten are last readings that could not be written. They go with the next batch.
	unwritten []usagelog.Reading
	// writing is what the goroutine is at, since when; there is no goroutine while since is zero.
	writing *usageBatch
	since   time.Time
	// failed is why the last write failed, and when; nil: it did not.
	failed   error
	failedAt time.Time
	// hanging is when a write was last reported that does not end.
	hanging time.Time
	// abandoned: the node has closed and did not wait; the goroutine closes the log.
	abandoned bool
}

// usageBatch is what goes into the log together. Readings of some subjects that come after those of all must not come before
// them: a log takes what it has not seen for old when it has seen something newer, and all that there were.
type usageBatch struct {
	// all are the readings of all subjects, at allAt, if that is set; some were made before them, and later after.
	allAt            time.Time
	all, some, later []usagelog.Reading
	// at is when the last of some and later were made.
	at time.Time
	// done is closed when the batch was written, or could not be.
	done chan struct{}
}

// appendAll has the readings of all subjects written; they take the place of such that wait still.
func (w *usageWriter) appendAll(at time.Time, readings []usagelog.Reading) (done <-chan struct{}) {
	return w.submit(func(b *usageBatch) {
		b.allAt, b.all = at, readings
		b.some, b.later = append(b.some, b.later...), nil
	})
}

// appendSome has the readings of some subjects written.
func (w *usageWriter) appendSome(at time.Time, readings []usagelog.Reading) (done <-chan struct{}) {
	return w.submit(func(b *usageBatch) {
		b.at = at
		if b.allAt.IsZero() {
			b.some = append(b.some, readings...)
		} else {
			b.later = append(b.later, readings...)
		}
	})
}

func (w *usageWriter) submit(add func(*usageBatch)) (done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = &usageBatch{done: make(chan struct{})}
	}
	add(w.waiting)
	if w.since.IsZero() {
		w.since = time.Now()
		go w.drain()
	}
	return w.waiting.done
}

// drain writes what waits until nothing does.
func (w *usageWriter) drain() {
	b, abandoned := w.next()
	for ; b != nil; b, abandoned = w.next() {
		unwritten, err := w.write(b)
		w.settle(unwritten, err)
		w.report(err)
		close(b.done)
	}
	if !abandoned {
		return
	}
	if err := w.log.Close(); err != nil {
		w.logger.Error("usage log not closed", "error", err)
	}
}

// next takes what waits; nil ends the goroutine.
func (w *usageWriter) next() (b *usageBatch, abandoned bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b = w.waiting
	w.writing, w.waiting = b, nil
	if b == nil {
		w.since = time.Time{}
		return nil, w.abandoned
	}
	w.since = time.Now()
	b.some = append(w.unwritten, b.some...)
	w.unwritten = nil
	return b, false
}

// write writes a batch, and returns the readings that must be written another time. All are made anew then; some are not.
func (w *usageWriter) write(b *usageBatch) (unwritten []usagelog.Reading, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), taskTimeout)
	defer cancel()
	if b.allAt.IsZero() {
		return b.some, w.log.AppendSome(ctx, b.at, b.some)
	}
	// Subjects that are leaving are there still.
	err = w.log.Append(ctx, b.allAt, append(b.all, b.some...))
	if failed(err) {
		return append(b.some, b.later...), err
	}
	if len(b.later) > 0 {
		late := w.log.AppendSome(ctx, b.at, b.later)
		if failed(late) {
			return b.later, late
		}
		err = errors.Join(err, late)
	}
	return nil, err
}

// failed reports that readings were not written.
func failed(err error) bool { return err != nil && !errors.Is(err, usagelog.ErrRetained) }

// settle notes what became of a batch.
func (w *usageWriter) settle(unwritten []usagelog.Reading, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = nil
	if !failed(err) {
		return
	}
	w.failed, w.failedAt, w.unwritten = err, time.Now(), unwritten
	if over := len(w.unwritten) - maxUnwritten; over > 0 {
		w.unwritten = append([]usagelog.Reading(nil), w.unwritten[over:]...)
		w.logger.Error("last readings of subjects forgotten, as the usage log fails", "readings", over)
	}
}

// wait waits until a batch is written, or has waited long enough: for a write that hangs nobody waits twice.
func (w *usageWriter) wait(ctx context.Context, done <-chan struct{}) {
	w.mu.Lock()
	patience := logPatience
	if !w.since.IsZero() {
		patience -= time.Since(w.since)
	}
	w.mu.Unlock()
	timer := time.NewTimer(max(patience, 0))
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// retries reports that a write failed long enough ago for another.
func (w *usageWriter) retries(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since.IsZero() && w.failed != nil && now.Sub(w.failedAt) >= logRetryDelay
}

// look reports a write that does not end.
func (w *usageWriter) look(now time.Time) {
	w.mu.Lock()
	since := w.since
	hangs := !since.IsZero() && now.Sub(since) > taskTimeout && now.Sub(w.hanging) > logRetryDelay
	if hangs {
		w.hanging = now
	}
	w.mu.Unlock()
	if hangs {
		w.report(noAnswer(now.Sub(since)))
	}
}

// close closes the log when all is written. Where that takes longer than ctx the goroutine is left to do so.
func (w *usageWriter) close(ctx context.Context) error {
	w.mu.Lock()
	last, since := cmp.Or(w.waiting, w.writing), w.since
	w.mu.Unlock()
	if last != nil {
		select {
		case <-last.done:
		case <-ctx.Done():
			return w.abandon(since)
		}
	}
	var errs []error
	w.mu.Lock()
	if w.failed != nil {
		errs = append(errs, fmt.Errorf("write usage log: %w", w.failed))
	}
	w.mu.Unlock()
	if err := w.log.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close usage log: %w", err))
	}
	return errors.Join(errs...)
}

// abandon leaves the log to the goroutine, which closes it in the end.
func (w *usageWriter) abandon(since time.Time) error {
	w.mu.Lock()
	ended := w.since.IsZero()
	w.abandoned = !ended
	w.mu.Unlock()
	if ended { // meanwhile
		return w.log.Close()
	}
	return noAnswer(time.Since(since))
}

func noAnswer(after time.Duration) error {
	return fmt.Errorf("the usage log has not answered for %v: look after its disk", after.Round(time.Second))
}
