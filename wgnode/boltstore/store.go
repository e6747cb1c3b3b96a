package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/wgnode"
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
}

var _ wgnode.Store = (*Store)(nil)

// Store is an open file. Its methods may be called from any goroutine.
type Store struct {
	path    string
	timeout time.Duration
	layout  layout

	// suspect says that a commit failed; heal comes before the next one.
	suspect atomic.Bool

	// stuck says that bbolt panicked: its locks may be held for ever.
	stuck atomic.Bool

	// written is how many records were written since release.
	written atomic.Int64

	mu       sync.RWMutex // held for reading while db is used, for writing while it is exchanged
	db       *bolt.DB
	file     *os.File    // what db has open
	pageSize int         // of bbolt, in bytes
	first    fs.FileInfo // of the file that was opened first
	closed   bool
}

// Open opens the file, or makes it if there is none; its directory must exist. It reads all of a file that is there, and
// refuses one that is damaged anywhere. Errors are of type [*FileError] and match [ErrLocked], [ErrNewer], [ErrDamaged],
// [ErrForeign], or what the system says; a file that is refused is left as it was.
func Open(path string, opts Options) (*Store, error) { return openAs(path, opts, currentLayout()) }

func openAs(path string, opts Options, l layout) (*Store, error) {
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = DefaultLockTimeout
	}
	s := &Store{path: path, timeout: opts.LockTimeout, layout: l}
	if err := explain("open", path, s.open(true)); err != nil {
		return nil, err
	}
	return s, nil
}

// open looks at the file before bbolt may follow and change what is in it, and opens it.
func (s *Store) open(orMake bool) error {
	if _, err := os.Lstat(s.path); errors.Is(err, fs.ErrNotExist) && orMake {
		if err := s.layout.create(s.path); err != nil {
			return err
		}
	}
	shared, err := openShared(s.path, s.timeout)
	if err != nil {
		return err
	}
	a, err := inspect(s.path, s.layout.version())
	if err == nil {
		err = a.err()
	}
	if err = errors.Join(err, shared.close()); err != nil {
		return err
	}
	return s.openDB()
}

// openDB opens the file with bbolt. What another process did to it since it was looked at, another Store did.
func (s *Store) openDB() (err error) {
	// The list of free pages is written with each commit. As an array it is in order; as a map it would be sorted each time, which
	// takes longer than the rest of a commit where 100,000 peers came in bulk.
	opts := &bolt.Options{
		Timeout: s.timeout, FreelistType: bolt.FreelistArrayType, InitialMmapSize: mapSize(),
		OpenFile: func(path string, flag int, mode fs.FileMode) (*os.File, error) {
			file, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
			s.file = file
			return file, err
		},
	}
	err = fenced(func() (err error) {
		s.db, err = bolt.Open(s.path, fileMode, opts)
		return err
	})
	if errors.As(err, new(*panicError)) {
		return errors.Join(err, unlockClose(s.file))
	}
	if err != nil {
		return err
	}
	s.db.AllocSize = growth
	err = fenced(func() error {
		s.pageSize = s.db.Info().PageSize
		if err := s.recognise(); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(s.path, fileMode), sweep(s.path)); err != nil {
			return err
		}
		return s.layout.migrate(s.db)
	})
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// recognise fails if heal has opened another file than the one that had the path at first.
func (s *Store) recognise() error {
	info, err := s.file.Stat()
	switch {
	case err != nil:
		return err
	case s.first == nil:
		s.first = info
	case !os.SameFile(s.first, info):
		return errors.New("another file has taken its place: move it back, or start the node again")
	}
	return nil
}

// mapSize is how much of the address space the file gets at first. bbolt can make a map larger only while nobody reads: with
// room from the start, no commit waits until a backup is written.
func mapSize() int {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" { // where the map would make the file as large
		return 0
	}
	return 1 << 30
}

// Path is the file's path as it was given to Open.
func (s *Store) Path() string { return s.path }

// Size is how much of the disk the file takes as a whole, free pages included, in bytes.
func (s *Store) Size() (int64, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0, explain("measure", s.path, err)
	}
	return info.Size(), nil
}

// Close unlocks the file. It waits for a Backup that is under way.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	switch {
	case s.db == nil: // heal could not open it again
		return nil
	case s.stuck.Load():
		return explain("close", s.path, unlockClose(s.file))
	}
	return explain("close", s.path, fenced(s.db.Close))
}

// guard runs an operation on the file.
func (s *Store) guard(op string, do func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return explain(op, s.path, ErrClosed)
	case s.db == nil:
		return explain(op, s.path, errors.New("it could not be opened again after a commit that failed"))
	case s.stuck.Load():
		return explain(op, s.path, fmt.Errorf("%w: it was found out while it was in use", ErrDamaged))
	}
	err := fenced(do)
	if errors.As(err, new(*panicError)) {
		s.stuck.Store(true)
	}
	return explain(op, s.path, err)
}

// fenced makes an error of what bbolt panics about when it meets a damaged page, a fault in the file's memory map included.
func fenced(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	return do()
}

// panicError is what bbolt panicked about.
type panicError struct{ reason any }

func (e *panicError) Error() string { return fmt.Sprintf("%v: %v", ErrDamaged, e.reason) }

func (e *panicError) Unwrap() error { return ErrDamaged }
