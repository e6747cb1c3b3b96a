package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
)

// Conditions to tell apart with [errors.Is]; the error says more, and what to do.
var (
	// ErrLocked: another process, or another node in this one, uses the file. FileError.Holder says which, if the system does.
	ErrLocked = errors.New("file is in use")
	// ErrNewer: a newer program wrote the file in a form that this one does not know.
	ErrNewer = errors.New("file was written by a newer program")
	// ErrDamaged: the file cannot be what this package wrote. [Check] says more.
	ErrDamaged = errors.New("file is damaged")
	// ErrForeign: the file is one of bbolt's that holds no state of a node.
	ErrForeign = errors.New("file is not a node's state")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// FileError says what could not be done with which file.
type FileError struct {
	// Op is what was attempted: "open", "load", "commit", "close", "backup", "check", "restore", "measure".
	Op string
	// Path is the file's.
	Path string
	// Holder is who uses the file if Err is ErrLocked. It is zero if the system does not tell.
	Holder Process
	// Hint says what to do about it; it may be empty.
	Hint string
	// Err is why.
	Err error
}

// Error is one line for a person.
func (e *FileError) Error() string {
	text := fmt.Sprintf("boltstore: %s %s: %v", e.Op, e.Path, e.Err)
	if e.Holder != (Process{}) {
		text += " by " + e.Holder.String()
	}
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Process is one that runs on this machine.
type Process struct {
	// PID is its number as this process sees it.
	PID int
	// Program is its name, of at most 15 bytes on Linux; empty if it cannot be seen.
	Program string
}

func (p Process) String() string {
	if p.Program == "" {
		return fmt.Sprintf("process %d", p.PID)
	}
	return fmt.Sprintf("process %d (%s)", p.PID, p.Program)
}

// explain puts an error about a file into words.
func explain(op, path string, err error) error {
	e := &FileError{Op: op, Path: path, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*FileError)):
		return err
	case errors.Is(err, bolterrors.ErrTimeout):
		e.Err, e.Hint, e.Holder = ErrLocked, "stop the other process that uses it", holder(path)
		if op == "open" {
			e.Hint += ", or give this node a file of its own"
		}
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		e.Err = ErrClosed
	case errors.Is(err, ErrNewer):
		e.Hint = "run the newer program, or restore a backup that this one made"
	case errors.Is(err, ErrForeign):
		e.Hint = "give the path of a node's state, or move the file away to begin with an empty one"
	case errors.Is(err, ErrDamaged):
		e.Hint = damagedHint
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		e.Err, e.Hint = fmt.Errorf("%w: %w", ErrDamaged, err), damagedHint
	case errors.Is(err, syscall.ENOSPC):
		e.Hint = "make room on its disk; nothing that was acknowledged is lost"
	case errors.Is(err, syscall.EIO):
		e.Hint = "its disk fails: look into the system's log, and save a backup to another disk; nothing that was acknowledged is lost"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		e.Hint = "give this process leave to write to it and to its directory, on a disk that is not read-only"
	}
	return e
}

const damagedHint = "waylumed state check says what is, and what can be done; restore a backup"
