package demo

import (
	"context"
	"sync"
	"time"
)

const (
	// settle is how long a flow runs before it is measured: a TCP connection has to find its speed first; and again, from
	// losses, when its limit has fallen.
	settle        = 700 * time.Millisecond
	settleSlowing = 1500 * time.Millisecond
	// window is how long a rate is measured.
	window = 3 * time.Second
	// tolerance is how far a rate may be off, in percent.
	tolerance = 5
	// chances is how often a row is measured before it is said not to hold.
	chances = 3
)

// judged is a row.
type judged interface{ verdict() *Verdict }

// retries is how rows are measured again.
type retries struct {
	// alone is held for reading by what is measured for the first time, together with others, and for writing by what is
	// measured again: by itself, so that a busy machine has the less to do.
	alone *sync.RWMutex
	// again is told why.
	again func(problems []string)
}

// attempt measures a row until it holds, at most so many times. What goes wrong with the measuring itself is a problem of
// the row, unless the context has ended.
func attempt[T any, R interface {
	*T
	judged
}](ctx context.Context, r retries, measure func(context.Context, R) error) (T, error) {
	for n := 1; ; n++ {
		var row T
		err := r.once(n, func() error { return measure(ctx, &row) })
		if ctx.Err() != nil {
			return row, context.Cause(ctx)
		}
		v := R(&row).verdict()
		if err != nil {
			v.expect(false, "could not be measured: %v", err)
		}
		v.Attempts, v.OK = n, len(v.Problems) == 0
		if v.OK || n == chances {
			return row, nil
		}
		r.again(v.Problems)
	}
}

func (r retries) once(n int, measure func() error) error {
	if n == 1 {
		r.alone.RLock()
		defer r.alone.RUnlock()
	} else {
		r.alone.Lock()
		defer r.alone.Unlock()
	}
	return measure()
}

// span reads a counter at both ends of a window, after the time that flows take to settle. A flow that has ended leaves
// nothing to measure, so the rate comes out low, and the row does not hold.
func span[T any](ctx context.Context, settle time.Duration, read func() T) (before, after T, d time.Duration, err error) {
	if !sleep(ctx, settle) {
		return before, after, 0, ctx.Err()
	}
	began := time.Now()
	before = read()
	if !sleep(ctx, window) {
		return before, after, 0, ctx.Err()
	}
	d = time.Since(began)
	return before, read(), d, nil
}
