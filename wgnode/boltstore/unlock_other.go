//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import "os"

// unlockClose closes a file that bbolt has locked and cannot close itself any more.
func unlockClose(file *os.File) error { return file.Close() }
