package idempotency

import (
	"bytes"
	"context"
	"iter"
	"sync"
)

var _ Store = (*MemoryStore)(nil)

// MemoryStore is a [Store] that lives as long as the process: keys are forgotten with it.
type MemoryStore struct {
	secret Secret

	mu  sync.Mutex
	all map[ID]Put
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{secret: random(), all: make(map[ID]Put)}
}

// Secret is random.
func (s *MemoryStore) Secret() Secret { return s.secret }

// Load yields the entries that are there when it is called.
func (s *MemoryStore) Load(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s.mu.Lock()
		entries := make([]Entry, 0, len(s.all))
		for _, p := range s.all {
			entries = append(entries, p.Entry)
		}
		s.mu.Unlock()
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Answer returns a copy of an entry's answer.
func (s *MemoryStore) Answer(ctx context.Context, id ID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.all[id]
	if !ok || len(p.Answer) == 0 {
		return nil, ErrNotFound
	}
	return bytes.Clone(p.Answer), nil
}

// Commit applies the change.
func (s *MemoryStore) Commit(ctx context.Context, c Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.Put {
		p.Answer = bytes.Clone(p.Answer)
		s.all[p.Entry.ID] = p
	}
	for _, ref := range c.Delete {
		if p, ok := s.all[ref.ID]; ok && p.Entry.Salt == ref.Salt {
			delete(s.all, ref.ID)
		}
	}
	return nil
}
