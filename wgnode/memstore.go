package wgnode

import (
	"bytes"
	"context"
	"iter"
	"sync"
)

var _ Store = (*MemoryStore)(nil)

// MemoryStore is a [Store] that lives as long as the process. Close keeps its contents, so that a second node may be
// started on what a first one left; that is what tests want. The zero value is ready to use.
type MemoryStore struct {
	mu      sync.Mutex
	records map[recordID][]byte
}

type recordID struct {
	kind RecordKind
	key  string
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{} }

// Load yields the records that are there when it is called.
func (s *MemoryStore) Load(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range s.snapshot() {
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s *MemoryStore) snapshot() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := make([]Record, 0, len(s.records))
	for id, value := range s.records {
		records = append(records, Record{Kind: id.kind, Key: id.key, Value: bytes.Clone(value)})
	}
	return records
}

// Commit applies the batch.
func (s *MemoryStore) Commit(ctx context.Context, batch []Mutation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = make(map[recordID][]byte)
	}
	for _, m := range batch {
		id := recordID{m.Kind, m.Key}
		if m.Delete {
			delete(s.records, id)
		} else {
			s.records[id] = bytes.Clone(m.Value)
		}
	}
	return nil
}

// Close does nothing.
func (s *MemoryStore) Close() error { return nil }
