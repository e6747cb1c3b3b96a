package audit

import (
	"errors"
	"fmt"
)

// Conditions to tell apart with [errors.Is]; the error says more, and what to do.
var (
	// ErrLocked: another process, or another Log in this one, writes to the directory.
	ErrLocked = errors.New("log is in use")
	// ErrKey: the key is missing, unfit, or another than the log was written with.
	ErrKey = errors.New("key does not fit")
	// ErrNewer: a newer program wrote a segment in a form that this one does not know.
	ErrNewer = errors.New("log was written by a newer program")
	// ErrDamaged: lines of the log could not be read.
	ErrDamaged = errors.New("log is damaged")
	// ErrInvalid: an argument breaks a rule.
	ErrInvalid = errors.New("invalid")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
)

// Error says what could not be done with which directory or file.
type Error struct {
	// Op is what was attempted: "open", "append to", "verify", "close".
	Op string
	// Path is the directory's or the file's.
	Path string
	// Hint says what to do about it; it may be empty.
	Hint string
	// Err is why.
	Err error
}

// Error is one line for a person.
func (e *Error) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("audit: %s %s: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("audit: %s %s: %v: %s", e.Op, e.Path, e.Err, e.Hint)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// explain puts an error into words; nil stays nil, and one that says what was attempted stays as it is.
func explain(op, path string, err error) error {
	var explained *Error
	if err == nil || errors.As(err, &explained) {
		return err
	}
	e := &Error{Op: op, Path: path, Err: err}
	switch {
	case errors.Is(err, ErrLocked):
		e.Hint = "stop the other process, or give this one a directory of its own"
	case errors.Is(err, ErrNewer):
		e.Hint = "run the newer program, or move the directory away to begin a new log"
	}
	return e
}
