package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/waylume/waylume/wgnode"
)

const (
	// DefaultLockTimeout is how long Open waits for a file in use: long enough for a service that is being restarted.
	DefaultLockTimeout = 3 * time.Second

	// schema is the version of the file's layout:
	//
	//	meta     schema -> version in decimal
	//	         count  -> number of records in decimal
	//	records  KIND   -> bucket of key -> CRC-32C of kind, key and value, then the value
	//
	// bbolt guards only its two root pages with checksums: the others are guarded by ours, and by the count.
	schema = 1

	fileMode fs.FileMode = 0o600
)

// Options are how a file is opened. The zero value is what most want.
type Options struct {
	// LockTimeout is how long to wait for a file that is in use. 0: DefaultLockTimeout.
	LockTimeout time.Duration
}

var _ wgnode.Store = (*Store)(nil)

// Store is an open file. Its methods may be called from any goroutine.
type Store struct {
	db   *bolt.DB
	path string
}

// Open opens the file, or makes it if there is none; its directory must exist. Errors are of type [*FileError] and match
// [ErrLocked], [ErrNewer], [ErrDamaged], [ErrForeign], or what the system says.
func Open(path string, opts Options) (*Store, error) {
	s := &Store{path: path}
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = DefaultLockTimeout
	}
	_, err := os.Stat(path)
	existed := err == nil

	err = s.guard("open", func() error {
		s.db, err = bolt.Open(path, fileMode, &bolt.Options{Timeout: opts.LockTimeout, FreelistType: bolt.FreelistMapType})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.guard("open", func() error { return s.prepare(existed) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare checks the schema, or writes it into a file that is new.
func (s *Store) prepare(existed bool) error {
	if err := os.Chmod(s.path, fileMode); err != nil {
		return err
	}
	var ours bool
	err := s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket())
		if ours = meta != nil && tx.Bucket(recordsBucket()) != nil; !ours {
			return nil
		}
		return checkSchema(meta)
	})
	switch {
	case err != nil || ours:
		return err
	case existed:
		return ErrForeign
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket())
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(recordsBucket()); err != nil {
			return err
		}
		if err := putNumber(meta, countKey(), 0); err != nil {
			return err
		}
		return putNumber(meta, schemaKey(), schema)
	})
}

func checkSchema(meta *bolt.Bucket) error {
	version, err := number(meta, schemaKey())
	switch {
	case err != nil:
		return err
	case version == 0:
		return fmt.Errorf("%w: its schema version is 0", ErrDamaged)
	case version > schema:
		return fmt.Errorf("%w: it has schema version %d, and this program knows none after %d", ErrNewer, version, schema)
	}
	return nil
}

func metaBucket() []byte    { return []byte("meta") }
func recordsBucket() []byte { return []byte("records") }
func schemaKey() []byte     { return []byte("schema") }
func countKey() []byte      { return []byte("count") }

// Path is the file's path as it was given to Open.
func (s *Store) Path() string { return s.path }

// Close unlocks the file.
func (s *Store) Close() error {
	return s.guard("close", s.db.Close)
}

// guard runs an operation, and makes an error of what bbolt panics about when it meets a damaged page, a fault in the
// file's memory map included.
func (s *Store) guard(op string, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		err = s.explain(op, err)
	}()
	return do()
}

// explain puts an error into words.
func (s *Store) explain(op string, err error) error {
	e := &FileError{Op: op, Path: s.path, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		e.Err, e.Hint = ErrLocked, "stop the other process that uses it, or give this node a file of its own"
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		e.Err = ErrClosed
	case errors.Is(err, ErrNewer):
		e.Hint = "run the newer program, or restore a backup that this one made"
	case errors.Is(err, ErrForeign):
		e.Hint = "give the path of a node's state, or delete the file to begin with an empty one"
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		e.Err, e.Hint = fmt.Errorf("%w: %w", ErrDamaged, err), "restore a backup"
	case errors.Is(err, ErrDamaged):
		e.Hint = "restore a backup"
	}
	return e
}
