//go:build !linux

package boltstore

// release does nothing: on these systems the pages of a file that is mapped go when the memory is needed.
func (s *Store) release() {}
