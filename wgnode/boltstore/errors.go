package boltstore

import (
	"errors"
	"fmt"
)

// Conditions to tell apart with [errors.Is]; the error says more, and what to do.
var (
	// ErrLocked: another process, or another node in this one, uses the file.
	ErrLocked = errors.New("file is in use")
	// ErrNewer: a newer program wrote the file in a form that this one does not know.
	ErrNewer = errors.New("file was written by a newer program")
	// ErrDamaged: the file cannot be what this package wrote.
	ErrDamaged = errors.New("file is damaged")
	// ErrForeign: the file holds no state of a node.
	ErrForeign = errors.New("file is not a node's state")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// FileError says what could not be done with which file.
type FileError struct {
	// Op is what was attempted: "open", "load", "commit", "close".
	Op string
	// Path is the file's.
	Path string
	// Hint says what to do about it; it may be empty.
	Hint string
	// Err is why.
	Err error
}

// Error is one line for a person.
func (e *FileError) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("boltstore: %s %s: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("boltstore: %s %s: %v: %s", e.Op, e.Path, e.Err, e.Hint)
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }
