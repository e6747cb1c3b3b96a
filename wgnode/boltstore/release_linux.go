package boltstore

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// release gives back the memory by which the process has the file mapped: bbolt's map keeps each page resident that was ever read,
// which after a Load is all of them, and in time after writes here and there. The pages stay in the system's cache, and come back when they are read again.
func (s *Store) release() {
	// In a transaction, as the map does not move then. It is only advice: without, there is more memory in use and all works.
	_ = s.guard("load", func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			page := int64(unix.Getpagesize())
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, s.db.Info().Data, uintptr(tx.Size()/page*page), unix.MADV_DONTNEED)
			return nil
		})
	})
}
