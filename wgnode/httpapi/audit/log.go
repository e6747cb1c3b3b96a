package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/dirlock"
)

// Bounds and defaults of [Options].
const (
	DefaultRetention = 366 * day
	MinRetention     = day
	MaxRetention     = 10 * 366 * day

	DefaultSegmentAge = day
	MinSegmentAge     = time.Minute
	MaxSegmentAge     = 31 * day

	DefaultSegmentSize = 16 << 20
	MinSegmentSize     = 64 << 10
	MaxSegmentSize     = 1 << 30

	day = 24 * time.Hour

	// headKey is the attribute that heads are logged under, at most once in headPeriod while the log grows.
	headKey    = "audit_head"
	headPeriod = time.Hour
)

// Options are how a log is written. The zero value is what most want.
type Options struct {
	// Key makes the hashes, MinKey to MaxKey bytes, as [ReadKey] reads one; nil: they are plain. A log that has been written
	// with a key is not opened without it, or with another one.
	Key []byte
	// Retention is how long a record is kept at least, MinRetention to MaxRetention; 0: DefaultRetention. Segments are deleted
	// whole, so a record is there for up to two SegmentAge longer, and a clock that is set ahead deletes nothing until it has
	// been so for one.
	Retention time.Duration
	// SegmentAge and SegmentSize (bytes) are how old and how long a segment becomes; 0: DefaultSegmentAge, DefaultSegmentSize.
	SegmentAge  time.Duration
	SegmentSize int64
	// Source is what a record says of where a request came from, and so the place to cut addresses short. Nil: the address of
	// Request.RemoteAddr.
	Source func(*http.Request) string
	// Route is the pattern that serves a request, as http.ServeMux.Handler returns it. Nil: the intent has the path alone, and
	// the result Request.Pattern, if the handlers leave it in the request that they were given.
	Route func(*http.Request) string
	// Logger is told what goes wrong where nobody can be answered, what was found at Open, and the log's head as "audit_head": at
	// Open, at Close, and in each hour that has changed it. Where that goes is a place for heads to be noted, if who may write to
	// this disk cannot change what is there. Nil: nobody is told.
	Logger *slog.Logger
}

func (o Options) validate() error {
	var errs []error
	if o.Key != nil && (len(o.Key) < MinKey || len(o.Key) > MaxKey) {
		errs = append(errs, fmt.Errorf("%w: Key has %d bytes: use %d to %d", ErrKey, len(o.Key), MinKey, MaxKey))
	}
	for _, v := range []struct {
		name          string
		is, low, high int64
		text          string
	}{
		{"Retention", int64(o.Retention), int64(MinRetention), int64(MaxRetention), "1 day to 10 years"},
		{"SegmentAge", int64(o.SegmentAge), int64(MinSegmentAge), int64(MaxSegmentAge), "1 minute to 31 days"},
		{"SegmentSize", o.SegmentSize, MinSegmentSize, MaxSegmentSize, "64 KiB to 1 GiB"},
	} {
		if v.is != 0 && (v.is < v.low || v.is > v.high) {
			errs = append(errs, fmt.Errorf("%w: %s is out of range: use %s, or 0 for the default", ErrInvalid, v.name, v.text))
		}
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	o.Key = slices.Clone(o.Key)
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.SegmentAge == 0 {
		o.SegmentAge = DefaultSegmentAge
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Log is a directory that is open for writing. Its methods may be called from any goroutine.
type Log struct {
	dir      string
	opts     Options
	lock     *os.File
	found    []string
	refusals refusals

	stop    chan struct{}
	keeping sync.WaitGroup

	writing sync.Mutex // held while files change; taken before mu
	w       writer

	mu sync.Mutex // guards what follows
	// next is the batch that records join until it is written; nil: the next record begins one.
	next *batch
	// late are results and events that could not be written, and go with the next batch.
	late   []*Record
	head   Head
	closed bool
}

// Open opens the directory, or makes it if there is none, and locks it. The last segment is read; what a kill cut off within its
// last line is taken away. Anything else that is wrong with it stays as it is, and the log goes on in another segment.
// [Log.Found] tells of both; neither is an error. Errors match [ErrInvalid], [ErrKey], [ErrNewer], [ErrLocked] or are what the
// system says.
func Open(dir string, opts Options) (*Log, error) {
	if err := opts.validate(); err != nil {
		return nil, explain("open", dir, err)
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, explain("open", dir, err)
	}
	lock, err := dirlock.Lock(dir, ErrLocked)
	if err != nil {
		return nil, explain("open", dir, err)
	}
	l := &Log{dir: dir, opts: opts.withDefaults(), lock: lock, stop: make(chan struct{})}
	l.w = writer{dir: dir, opts: l.opts, seal: sealer{l.opts.Key}}
	if err = l.begin(); err != nil {
		return nil, errors.Join(explain("open", dir, err), l.w.close(), lock.Close())
	}
	for _, f := range l.found {
		l.opts.Logger.Error("audit log is not whole", "found", f)
	}
	l.opts.Logger.Info("audit log opened", headKey, l.head)
	head := l.head
	l.keeping.Go(func() { l.keep(head) })
	return l, nil
}

// begin takes up the log where it was left, and says in it that it was opened.
func (l *Log) begin() error {
	found, err := l.w.resume()
	if err != nil {
		return err
	}
	l.found = found
	_, err = l.w.append(time.Now(), []*Record{{Kind: KindOpen, Process: os.Getpid(), Found: l.found}})
	l.head = l.w.head
	return err
}

// Found is what was wrong with the log when it was opened, in words.
func (l *Log) Found() []string { return slices.Clone(l.found) }

// Head is the last line that is on the disk.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Close writes what waits, and unlocks the directory. Records that come later match [ErrClosed]; so changes must have ended
// before. Closing again does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	close(l.stop)
	l.keeping.Wait()
	l.rest()
	defer l.writing.Unlock()
	defer l.mu.Unlock()
	last := slices.Concat(l.late, l.refusals.take(time.Time{}), []*Record{{Kind: KindClose}})
	_, err := l.w.append(time.Now(), last)
	l.head = l.w.head
	l.opts.Logger.Info("audit log closed", headKey, l.head)
	return explain("close", l.dir, errors.Join(err, l.w.close(), l.lock.Close()))
}

// rest takes both locks when the last batch has been written.
func (l *Log) rest() {
	for {
		l.writing.Lock()
		l.mu.Lock()
		b := l.next
		if b == nil {
			return
		}
		l.mu.Unlock()
		l.writing.Unlock()
		<-b.done
	}
}
