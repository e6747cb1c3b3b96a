// Package dirlock has one process at a time write to a directory.
package dirlock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Name is the name of the file that is locked while a directory is written to. It holds the number of the process.
const Name = "lock"

// errHeld: somebody else has the lock.
var errHeld = errors.New("file is locked")

// maxPID is more than the number of a process needs, in bytes.
const maxPID = 20

// Lock locks a directory until the file that it returns is closed. If somebody else has locked it the error matches locked, and says
// which process that is.
func Lock(dir string, locked error) (lock *os.File, err error) {
	lock, err = os.OpenFile(filepath.Join(dir, Name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := lockFile(lock); errors.Is(err, errHeld) {
		return nil, holder(lock, locked)
	} else if err != nil {
		return nil, err
	}
	if err := lock.Truncate(0); err != nil {
		return nil, err
	}
	_, err = lock.WriteString(strconv.Itoa(os.Getpid()))
	return lock, err
}

// holder says who has the lock, if the file tells.
func holder(lock *os.File, locked error) error {
	text, err := io.ReadAll(io.LimitReader(lock, maxPID))
	pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || bad != nil {
		return locked
	}
	return fmt.Errorf("%w by process %d", locked, pid)
}
