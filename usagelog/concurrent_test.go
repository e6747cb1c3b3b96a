package usagelog_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
)

// TestReadingWhileAppending asks a log and a reader while two goroutines append over many days: no answer is short of what
// had been appended before the question, nor above what has been after it, and all peers are read at one time.
func TestReadingWhileAppending(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	appendAll(t, l, noon)
	var before, after atomic.Uint64
	var mu sync.Mutex
	add := func() error {
		mu.Lock()
		defer mu.Unlock()
		n := after.Add(1)
		var readings []usagelog.Reading
		for i := range uint64(20) {
			readings = append(readings, reading(peer(i+1), n, 2*n))
		}
		if err := l.Append(t.Context(), noon.Add(time.Duration(n)*time.Hour), readings); err != nil {
			return err
		}
		before.Store(n)
		return nil
	}
	ask := func(a asker) error {
		low := before.Load()
		s, err := a.Usage(t.Context(), noon, noon.AddDate(1, 0, 0), nil)
		high := after.Load()
		if err != nil {
			return err
		}
		if len(s.Damage) > 0 {
			return fmt.Errorf("damage: %v", s.Damage)
		}
		for _, u := range s.Usages {
			n := u.Counters.Download
			if n < low || n > high || u.Counters.Upload != 2*n || n != s.Usages[0].Counters.Download {
				return fmt.Errorf("%v of %d to %d", u, low, high)
			}
		}
		return nil
	}
	var done atomic.Bool
	errs := make(chan error, 4)
	r := reader(t, dir)
	for range 2 {
		go func() {
			var err error
			for i := 0; i < 150 && err == nil; i++ {
				err = add()
			}
			errs <- err
		}()
	}
	for _, a := range []asker{l, r} {
		go func() {
			var err error
			for !done.Load() && err == nil {
				err = ask(a)
			}
			errs <- err
		}()
	}
	err := errors.Join(<-errs, <-errs)
	done.Store(true)
	require.NoError(t, errors.Join(err, <-errs, <-errs))
	require.Len(t, used(t, l, noon, noon.AddDate(1, 0, 0)), 20)
	require.Equal(t, uint64(300), before.Load())
}

func TestCloseWhileAppending(t *testing.T) {
	for range 20 {
		l, err := usagelog.Open(t.TempDir(), options())
		require.NoError(t, err)
		errs := make(chan error, 3)
		for i := range 2 {
			go func() {
				for {
					if err := l.Append(t.Context(), noon, []usagelog.Reading{reading(peer(uint64(i)), 1, 1)}); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
		go func() { errs <- l.Close() }()
		closed := 0
		for range 3 {
			if err := <-errs; err != nil {
				require.ErrorIs(t, err, usagelog.ErrClosed)
				closed++
			}
		}
		require.Equal(t, 2, closed)
	}
}
