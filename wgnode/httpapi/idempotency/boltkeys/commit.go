package boltkeys

import (
	"context"
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

// batch is what goes to the disk at once: all changes that came while the batch before was being written.
type batch struct {
	changes []idempotency.Change
	done    bool
	err     error
}

// Commit makes the change durable, together with others that wait. Once it waits it is not given up, whatever ctx does.
func (s *Store) Commit(ctx context.Context, c idempotency.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.queue.Lock()
	if s.next == nil {
		s.next = &batch{}
	}
	b := s.next
	b.changes = append(b.changes, c)
	s.queue.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.done { // whoever of the batch comes first writes it
		s.queue.Lock()
		s.next = nil
		s.queue.Unlock()
		b.err, b.done = s.write(b), true
	}
	return explain("commit", s.path, b.err)
}

func (s *Store) write(b *batch) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.heal(); err != nil {
		return err
	}
	err := fenced(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			for _, c := range b.changes {
				if err := apply(tx, c); err != nil {
					return err
				}
			}
			return nil
		})
	})
	switch {
	case errors.Is(err, ErrDamaged):
		s.broken = fmt.Errorf("%w, which was found out while it was in use", err)
	case err != nil:
		s.suspect = true
	}
	return err
}

func apply(tx *bolt.Tx, c idempotency.Change) error {
	entries, answers := tx.Bucket([]byte(entriesBucket)), tx.Bucket([]byte(answersBucket))
	for _, p := range c.Put {
		id := p.Entry.ID
		value, err := p.Entry.AppendBinary(nil)
		if err != nil {
			return err
		}
		if err := entries.Put(id[:], value); err != nil {
			return err
		}
		if len(p.Answer) == 0 {
			err = answers.Delete(id[:])
		} else {
			err = answers.Put(id[:], p.Answer)
		}
		if err != nil {
			return err
		}
	}
	for _, ref := range c.Delete {
		value := entries.Get(ref.ID[:])
		if value == nil {
			continue
		}
		switch e, err := entry(ref.ID[:], value); {
		case err != nil:
			return err
		case e.Salt != ref.Salt:
			continue
		}
		if err := errors.Join(entries.Delete(ref.ID[:]), answers.Delete(ref.ID[:])); err != nil {
			return err
		}
	}
	return nil
}

// heal opens the file anew after a commit that failed, and does nothing else. What the system shows of the two root pages may not
// be on the disk then, while bbolt goes on from it: both are written again as they are seen, before anything else is. See Rebello
// et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
func (s *Store) heal() error {
	if !s.suspect {
		return nil
	}
	if s.db != nil {
		if err := writeRoots(s.file, s.db.Info().PageSize); err != nil {
			return fmt.Errorf("it could not be written before, and still cannot: %w", err)
		}
		if err := fenced(s.db.Close); err != nil {
			s.broken = err
			return err
		}
		s.db = nil
	}
	secret := s.secret
	if err := s.open(); err != nil {
		return fmt.Errorf("it could not be opened anew after a commit that failed: %w", err)
	}
	if s.secret != secret {
		s.broken = errors.New("another file has taken its place: start the node again")
		return s.broken
	}
	s.suspect = false
	return nil
}

func writeRoots(file *os.File, pageSize int) error {
	pages := make([]byte, 2*pageSize)
	if _, err := file.ReadAt(pages, 0); err != nil {
		return err
	}
	if _, err := file.WriteAt(pages, 0); err != nil {
		return err
	}
	return file.Sync()
}
