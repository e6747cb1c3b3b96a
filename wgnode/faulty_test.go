package wgnode

import (
	"context"
	"sync"
)

// faultyStore is a MemoryStore whose commits can be made to fail, before they are made or after.
type faultyStore struct {
	*MemoryStore

	mu     sync.Mutex
	before func(batch []Mutation) error
	after  func(batch []Mutation) error
}

func newFaultyStore() *faultyStore { return &faultyStore{MemoryStore: NewMemoryStore()} }

func (s *faultyStore) set(before, after func([]Mutation) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func (s *faultyStore) Commit(ctx context.Context, batch []Mutation) error {
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(batch); err != nil {
			return err
		}
	}
	if err := s.MemoryStore.Commit(ctx, batch); err != nil {
		return err
	}
	if after != nil {
		return after(batch)
	}
	return nil
}
