package usagelog

import (
	"errors"
	"fmt"
)

// Conditions to tell apart with [errors.Is]; the error says more, and what to do.
var (
	// ErrLocked: another process, or another Log in this one, writes to the directory.
	ErrLocked = errors.New("log is in use")
	// ErrNewer: a newer program wrote a segment in a form that this one does not know.
	ErrNewer = errors.New("log was written by a newer program")
	// ErrInvalid: an argument breaks a rule.
	ErrInvalid = errors.New("invalid")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrRetained: what was appended is in the log, but a segment that is older than the retention could not be deleted.
	ErrRetained = errors.New("old segments could not be deleted")
)

// Error says what could not be done with which directory or file.
type Error struct {
	// Op is what was attempted: "open", "append to", "read", "close".
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
		return fmt.Sprintf("usagelog: %s %s: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("usagelog: %s %s: %v: %s", e.Op, e.Path, e.Err, e.Hint)
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
		e.Hint = "stop the other process, or give this one a directory of its own; to read only, use a Reader"
	case errors.Is(err, ErrNewer):
		e.Hint = "run the newer program, or move the directory away to begin a new log"
	}
	return e
}

// Damage is a part of a segment that could not be read, and was left out.
type Damage struct {
	// Segment is the name of the file.
	Segment string
	// Offset and Length say where in it, in bytes.
	Offset, Length int64
	// End: nothing that can be read follows. So looks what a crash has cut off.
	End bool
}

// String is one line for a person.
func (d Damage) String() string {
	what := "damaged"
	if d.End {
		what = "damaged or cut off"
	}
	return fmt.Sprintf("%s: %d bytes at %d are %s", d.Segment, d.Length, d.Offset, what)
}
