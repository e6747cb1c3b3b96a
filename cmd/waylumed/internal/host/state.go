package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/wgnode/boltstore"
)

const (
	stateMode = 0o700
	// patience is how long another process may still hold the state.
	patience = time.Second
)

// OpenState opens the state in a directory, or makes it.
func (n Names) OpenState(dir string) (*boltstore.Store, error) {
	if err := n.MakeState(dir); err != nil {
		return nil, err
	}
	path := state.File(dir)
	store, err := boltstore.Open(path, boltstore.Options{LockTimeout: patience})
	switch {
	case errors.Is(err, boltstore.ErrLocked):
		return nil, fmt.Errorf("%w\nAnother waylumed runs on %s: stop it, or give this one a directory of its own with %s", err, dir, n.State)
	case err != nil:
		return nil, n.stateError(dir, err)
	}
	return store, nil
}

// MakeState makes the directory of the state, if it is not there.
func (n Names) MakeState(dir string) error {
	if err := os.MkdirAll(dir, stateMode); err != nil {
		return n.stateError(dir, err)
	}
	return nil
}

func (n Names) stateError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w\nThis user cannot write to %s: make it theirs, or name another directory with %s", err, dir, n.State)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w\n%s is not a directory: name one with %s", err, dir, n.State)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w\nThe disk is full", err)
	}
	return err
}
