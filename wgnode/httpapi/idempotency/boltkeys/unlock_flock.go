//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package boltkeys

import (
	"errors"
	"os"
	"syscall"
)

// unlockClose closes a file that bbolt has locked and cannot close itself any more. Its memory map, which stays, would keep
// the lock.
func unlockClose(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}
