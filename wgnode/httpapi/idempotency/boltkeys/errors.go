package boltkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

// Conditions to tell apart with [errors.Is].
var (
	// ErrLocked: another process, or another Store in this one, uses the file.
	ErrLocked = errors.New("file is in use")
	// ErrForeign: the file is something else's.
	ErrForeign = errors.New("file does not hold idempotency keys")
	// ErrNewer: a newer program wrote the file in a form that this one does not know.
	ErrNewer = errors.New("file was written by a newer program")
	// ErrDamaged: the file cannot be what this package wrote.
	ErrDamaged = errors.New("file is damaged")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// FileError says what could not be done with which file.
type FileError struct {
	Op   string // "open", "load", "read", "commit", "close"
	Path string
	Hint string // what to do about it; it may be empty
	Err  error
}

// Error is one line for a person.
func (e *FileError) Error() string {
	text := fmt.Sprintf("boltkeys: %s %s: %v", e.Op, e.Path, e.Err)
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

func explain(op, path string, err error) error {
	e := &FileError{Op: op, Path: path, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, idempotency.ErrNotFound):
		return err
	case errors.Is(err, bolterrors.ErrTimeout):
		e.Err, e.Hint = ErrLocked, "stop the other process that uses it, or give this node a file of its own"
	case errors.Is(err, ErrForeign):
		e.Hint = "give the path of another file, or of one that is not there yet"
	case errors.Is(err, ErrNewer):
		e.Hint = "run the newer program, or move the file away to begin with an empty one"
	case errors.Is(err, ErrDamaged):
		e.Hint = "start again without Strict, or move the file away, to begin with an empty one"
	case errors.Is(err, syscall.ENOSPC):
		e.Hint = "make room on its disk"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		e.Hint = "give this process leave to write to it and to its directory, on a disk that is not read-only"
	}
	return e
}

// damaging reports that an error of bbolt's or of this package's says that the file is damaged.
func damaging(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, idempotency.ErrDamaged) || errors.Is(err, bolterrors.ErrInvalid) ||
		errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch)
}
