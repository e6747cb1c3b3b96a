package usagelog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/dirlock"
)

// Bounds of [Options].Retention.
const (
	DefaultRetention = 90 * day
	MinRetention     = day
	MaxRetention     = 10 * 366 * day
)

// Options are how a log is written. The zero value is what most want.
type Options struct {
	// Retention is how long what was used stays known, MinRetention to MaxRetention; 0: DefaultRetention. Segments are
	// deleted whole, when a day begins and at Open: when they, by the days that the log has seen, ended this long before the
	// last day but one. So up to two days more are kept, and no more is deleted for a clock that is ahead until it has been
	// so on two days.
	Retention time.Duration
	// NoSync leaves it to the system when an Append reaches the disk, up to some 30 s later. What is lost then is lost by a
	// crash of the machine only, not of the process; a segment's beginning is synced in any case.
	NoSync bool
}

func (o Options) validate() error {
	if o.Retention != 0 && (o.Retention < MinRetention || o.Retention > MaxRetention) {
		return fmt.Errorf("%w: Retention %v: use %v to %v, or 0 for %v",
			ErrInvalid, o.Retention, MinRetention, MaxRetention, DefaultRetention)
	}
	return nil
}

// Log is a directory that is open for writing. Its methods may be called from any goroutine.
type Log struct {
	dir  string
	opts Options
	lock *os.File
	// found is what Open found damaged.
	found []Damage

	writing sync.Mutex // held by Append and Close; taken before mu
	w       writer

	mu sync.Mutex // guards what questions read
	// segments are all there are; the limit of the last is what was appended whole.
	segments []segment
	closed   bool
}

// Open opens the directory, or makes it if there is none, and locks it. Its last segment is read, what a crash cut off at
// its end is taken away, and segments past their retention are deleted. What was damaged, [Log.Damage] tells; damage is no
// error. Errors match [ErrInvalid], or are of type [*Error] and match [ErrLocked], [ErrNewer], or what the system says.
func Open(dir string, opts Options) (*Log, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("usagelog: open %s: %w", dir, err)
	}
	if opts.Retention == 0 {
		opts.Retention = DefaultRetention
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, explain("open", dir, err)
	}
	lock, err := dirlock.Lock(dir, ErrLocked)
	if err != nil {
		return nil, explain("open", dir, err)
	}
	l := &Log{dir: dir, opts: opts, lock: lock}
	if err := l.load(); err != nil {
		if l.w.file != nil {
			err = errors.Join(err, l.w.file.Close())
		}
		return nil, errors.Join(explain("open", dir, err), lock.Close())
	}
	return l, nil
}

// load takes up the log where it was left.
func (l *Log) load() error {
	if err := removeTemporaries(l.dir); err != nil {
		return err
	}
	list, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	r, damage, err := replayLast(l.dir, list)
	if err != nil {
		return err
	}
	l.w = newWriter(l.dir, !l.opts.NoSync, r)
	l.found = damage
	if n := len(list); n > 0 {
		last := &list[n-1]
		l.w.segment = *last
		if last.limit, err = mend(l.dir, *last, damage); err != nil {
			return err
		}
		if last.limit == 0 {
			list = list[:n-1]
		} else if !slices.ContainsFunc(damage, func(d Damage) bool { return d.Segment == last.name() }) {
			l.w.size = last.limit
			if err := l.w.resume(r); err != nil {
				return err
			}
		}
	}
	l.segments, err = retire(l.dir, list, l.opts.Retention)
	return err
}

// removeTemporaries removes what a crash left of segments that were being made.
func removeTemporaries(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), temporaryExt)
		if _, ours := parseSegment(name); ok && ours {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// replayLast replays the log from the last base that is whole, or from its beginning.
func replayLast(dir string, list []segment) (*replay, []Damage, error) {
	from := len(list)
	for whole := false; from > 0 && !whole; {
		from--
		var err error
		if whole, err = list[from].hasBase(context.Background(), dir); err != nil {
			return nil, nil, err
		}
	}
	r := newReplay()
	var damage []Damage
	for _, s := range list[from:] {
		r.begin()
		found, err := s.read(context.Background(), dir, func(f *frame) error {
			r.apply(f)
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		damage = append(damage, found...)
	}
	return r, damage, nil
}

// mend cuts off what cannot be read at the end of a segment, removes it if nothing is left, and returns its length.
func mend(dir string, s segment, damage []Damage) (size int64, err error) {
	path := filepath.Join(dir, s.name())
	for _, d := range damage {
		if d.Segment != s.name() || !d.End {
			continue
		}
		if d.Offset == 0 {
			return 0, os.Remove(path)
		}
		return d.Offset, os.Truncate(path, d.Offset)
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Damage is what Open found damaged where it looked, which is the end of the log.
func (l *Log) Damage() []Damage { return slices.Clone(l.found) }

// Sequence is the highest sequence number of any subject that the log has seen. A node whose state was restored from an older
// backup begins above it, lest it give a number again.
func (l *Log) Sequence() uint64 {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.w.highest
}

// snapshot returns the segments as they are now.
func (l *Log) snapshot() ([]segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	return slices.Clone(l.segments), nil
}

// Close waits for an Append that is under way, and unlocks the directory. Closing again does nothing.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	return explain("close", l.dir, errors.Join(l.w.close(), l.lock.Close()))
}
