//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltkeys

import "os"

// unlockClose closes a file that bbolt has locked and cannot close itself any more.
func unlockClose(file *os.File) error { return file.Close() }
