package boltstore

import (
	"fmt"
	"os"
)

// heal makes the file safe to write to after a commit that failed, and does nothing else.
//
// When the system cannot write a root page, it may forget the page and still show it to those who read the file. bbolt then
// goes on from a commit that is not on the disk, takes the pages of the one before for free, and the next commit writes over
// them: a loss of power before that commit's own root page is written would leave neither. So both root pages are
// written again as they are seen, and nothing else until that has succeeded.
//
// See Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
func (s *Store) heal() error {
	if !s.suspect.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stuck.Load() || !s.suspect.Load() {
		return nil // guard says what is the matter, if anything is
	}
	if s.db != nil {
		if err := writeRoots(s.file, s.pageSize); err != nil {
			return explain("commit", s.path, fmt.Errorf("it could not be written before, and still cannot: %w", err))
		}
		// bbolt's own view of the free pages is of one commit or of the other.
		if err := fenced(s.db.Close); err != nil {
			return explain("commit", s.path, err)
		}
		s.db = nil
	}
	if err := s.open(false); err != nil {
		s.db = nil
		return explain("commit", s.path, err)
	}
	s.suspect.Store(false)
	return nil
}

// writeRoots makes durable what the root pages are seen to be.
func writeRoots(file *os.File, pageSize int) error {
	pages := make([]byte, 2*pageSize)
	if _, err := file.ReadAt(pages, 0); err != nil {
		return err
	}
	for _, at := range []int{0, pageSize} {
		if _, err := file.WriteAt(pages[at:at+pageSize], int64(at)); err != nil {
			return err
		}
	}
	return file.Sync()
}
