package usagelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// expired returns the segments that are past their retention, by the days of the log alone. A day counts as reached when
// the log has seen another after it: a clock that is wrong on one day expires nothing.
//
// A segment of a day that is still to come was made by a clock that was ahead; it expires with the next one after it that
// was not. One of a day long past, by a clock that was behind, expires at once.
func expired(list []segment, retention time.Duration) []segment {
	if len(list) == 0 {
		return nil
	}
	last := list[len(list)-1]
	other := slices.IndexFunc(backwards(list), func(s segment) bool { return s.day != last.day })
	if other < 0 {
		return nil
	}
	reached := min(last.begin(), backwards(list)[other].begin())
	var old []segment
	end := last.end()
	for _, s := range backwards(list) {
		if s.begin() <= reached {
			end = s.end()
		}
		if end <= reached-int64(retention) {
			old = append(old, s)
		}
	}
	return backwards(old)
}

func backwards(list []segment) []segment {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// retire deletes the segments that are past their retention, and returns those that are left. Errors match [ErrRetained].
func retire(dir string, list []segment, retention time.Duration) ([]segment, error) {
	left := slices.Clone(list)
	var errs []error
	for _, s := range expired(list, retention) {
		if err := os.Remove(filepath.Join(dir, s.name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		left = slices.DeleteFunc(left, func(other segment) bool { return other.index == s.index })
	}
	if len(errs) > 0 {
		return left, fmt.Errorf("%w: %w", ErrRetained, errors.Join(errs...))
	}
	return left, nil
}
