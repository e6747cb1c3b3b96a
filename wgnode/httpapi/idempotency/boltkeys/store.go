package boltkeys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

const (
	// DefaultLockTimeout is how long Open waits for a file in use: long enough for a service that is being restarted.
	DefaultLockTimeout = 3 * time.Second

	fileMode fs.FileMode = 0o600

	// growth is by how many bytes the file grows, beyond what it needs.
	growth = 1 << 20
)

// Options are how a file is opened. The zero value is what most want.
type Options struct {
	// LockTimeout is how long to wait for a file that is in use. 0: DefaultLockTimeout.
	LockTimeout time.Duration
	// Strict has Open refuse a damaged file, with [ErrDamaged], and leave it as it is.
	Strict bool
	// Logger is told of a file that is set aside. Nil: nobody is, but [Store.SetAside] says.
	Logger *slog.Logger
}

var _ idempotency.Store = (*Store)(nil)

// Store is an open file. Its methods may be called from any goroutine.
type Store struct {
	path     string
	opts     Options
	setAside string
	secret   idempotency.Secret

	queue sync.Mutex // guards next
	next  *batch     // which waits for its commit

	// mu is held for reading while db is read, for writing while it is written to or exchanged.
	mu      sync.RWMutex
	db      *bolt.DB
	file    *os.File // what db has open
	suspect bool     // a commit failed: the file is to be opened anew before the next
	broken  error    // bbolt panicked, and may hold its locks for ever; or the file could not be opened anew
	closed  bool
}

// Open opens the file, or makes it if there is none; its directory must exist. One that is damaged is renamed to end in
// ".damaged", instead of an earlier one of that name, unless Options.Strict. Errors are of type [*FileError] and match
// [ErrLocked], [ErrForeign], [ErrNewer], [ErrDamaged], or what the system says.
func Open(path string, opts Options) (*Store, error) {
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = DefaultLockTimeout
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{path: path, opts: opts}
	err := s.open()
	if damaging(err) && !opts.Strict {
		err = s.replace(err)
	}
	if err != nil {
		return nil, explain("open", path, err)
	}
	return s, nil
}

// SetAside is where Open has put a damaged file; empty: there was none.
func (s *Store) SetAside() string { return s.setAside }

// Secret is the file's.
func (s *Store) Secret() idempotency.Secret { return s.secret }

// Load yields every entry.
func (s *Store) Load(ctx context.Context) iter.Seq2[idempotency.Entry, error] {
	return func(yield func(idempotency.Entry, error) bool) {
		var all []idempotency.Entry
		err := s.read("load", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(entriesBucket)).ForEach(func(id, value []byte) error {
				e, err := entry(id, value)
				all = append(all, e)
				return errors.Join(err, ctx.Err())
			})
		})
		if err != nil {
			yield(idempotency.Entry{}, err)
			return
		}
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Answer returns a copy of an entry's answer.
func (s *Store) Answer(ctx context.Context, id idempotency.ID) (sealed []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.read("read", func(tx *bolt.Tx) error {
		value := tx.Bucket([]byte(answersBucket)).Get(id[:])
		if len(value) == 0 {
			return idempotency.ErrNotFound
		}
		sealed = bytes.Clone(value)
		return nil
	})
	return sealed, err
}

func (s *Store) read(op string, do func(tx *bolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return explain(op, s.path, err)
	}
	if s.db == nil {
		return explain(op, s.path, errors.New("it could not be opened anew after a commit that failed"))
	}
	return explain(op, s.path, fenced(func() error { return s.db.View(do) }))
}

func (s *Store) usable() error {
	if s.closed {
		return ErrClosed
	}
	return s.broken
}

// Close unlocks the file. It waits for what is under way, and may be called more than once.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return explain("close", s.path, s.closeDB())
}

func (s *Store) closeDB() error {
	switch {
	case s.db == nil:
		return nil
	case s.broken != nil: // bbolt may hold its locks: without its file it holds that of the system no more
		return s.abandon()
	}
	return fenced(s.db.Close)
}

// fenced makes an error of what bbolt panics about when it meets a damaged page, a fault in the file's memory map included.
func fenced(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return do()
}

func entry(id, value []byte) (idempotency.Entry, error) {
	if len(id) != len(idempotency.ID{}) {
		return idempotency.Entry{}, fmt.Errorf("%w: a name of %d bytes", ErrDamaged, len(id))
	}
	return idempotency.UnmarshalEntry(idempotency.ID(id), value)
}
