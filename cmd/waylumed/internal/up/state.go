package up

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/keyfile"
)

const (
	stateMode = 0o700
	// patience is how long another process may still hold the state.
	patience = time.Second
)

// StateDir is where state is kept unless a person says otherwise: a directory for the system's services when the process
// runs as root, else the one of the XDG Base Directory Specification. It is empty when there is no home.
func StateDir(getenv func(string) string, root bool, home string) string {
	switch {
	case root:
		return "/var/lib/waylume"
	case filepath.IsAbs(getenv("XDG_STATE_HOME")): // the specification ignores others
		return filepath.Join(getenv("XDG_STATE_HOME"), "waylumed")
	case home != "" && runtime.GOOS == "windows":
		return filepath.Join(home, "AppData", "Local", "waylumed")
	case home != "":
		return filepath.Join(home, ".local", "state", "waylumed")
	}
	return ""
}

// openState opens the state, or makes it.
func openState(dir string) (*boltstore.Store, error) {
	if err := os.MkdirAll(dir, stateMode); err != nil {
		return nil, stateError(dir, err)
	}
	path := state.File(dir)
	store, err := boltstore.Open(path, boltstore.Options{LockTimeout: patience})
	switch {
	case errors.Is(err, boltstore.ErrLocked):
		return nil, fmt.Errorf("%w\nAnother waylumed runs on %s: stop it, or give this one a directory of its own with --state", err, dir)
	case err != nil:
		return nil, stateError(dir, err)
	}
	return store, nil
}

func stateError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w\nThis user cannot write to %s: make it theirs, or name another directory with --state", err, dir)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w\n%s is not a directory: name one with --state", err, dir)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w\nThe disk is full", err)
	}
	return err
}

// errAddrInUse is WSAEADDRINUSE, which package syscall does not have; elsewhere there is no such number.
const errAddrInUse = syscall.Errno(10048)

// startError says what to do about a node that did not start.
func (c choice) startError(err error, port uint16) error {
	switch {
	case errors.Is(err, wgnode.ErrKeyMismatch):
		return fmt.Errorf("%w\nHere these are --private-key-file and --accept-new-key", err)
	case errors.As(err, new(*keyfile.Error)): // it says what to do
		return err
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, errAddrInUse):
		return fmt.Errorf("%w\nAnother program uses UDP port %d, perhaps another WireGuard: stop it, or choose a port with --listen-port "+
			"(0: any that is free)", err, port)
	case errors.Is(err, fs.ErrPermission) && !c.kernel: // for which much takes a permission
		return fmt.Errorf("%w\nThis user may not use UDP port %d: choose one of 1024 or more with --listen-port", err, port)
	case c.kernel && !c.asked:
		return fmt.Errorf("%w\nThe kernel dataplane was chosen and did not start: mend that, or say --dataplane %s", err, userspaceDataplane)
	}
	return err
}
