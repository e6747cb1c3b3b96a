package source

import "container/list"

// Table keeps something for each of the keys that were seen last, and forgets the one that was seen longest ago for a new one.
// It must not be used concurrently.
type Table[K comparable, V any] struct {
	limit int
	byKey map[K]*list.Element
	seen  *list.List // of *row[K, V], the latest first
}

type row[K comparable, V any] struct {
	key   K
	value V
}

// NewTable returns a table of at most limit keys, which is 1 or more.
func NewTable[K comparable, V any](limit int) *Table[K, V] {
	return &Table[K, V]{limit: limit, byKey: make(map[K]*list.Element), seen: list.New()}
}

// Get returns what there is for a key, which has been seen with that: the zero value, if it is new.
func (t *Table[K, V]) Get(key K) *V {
	if e, ok := t.byKey[key]; ok {
		t.seen.MoveToFront(e)
		return &e.Value.(*row[K, V]).value
	}
	if len(t.byKey) >= t.limit {
		oldest := t.seen.Back()
		delete(t.byKey, oldest.Value.(*row[K, V]).key)
		t.seen.Remove(oldest)
	}
	r := &row[K, V]{key: key}
	t.byKey[key] = t.seen.PushFront(r)
	return &r.value
}

// Peek returns what there is for a key, which does not count as seen: nil, if there is nothing.
func (t *Table[K, V]) Peek(key K) *V {
	if e, ok := t.byKey[key]; ok {
		return &e.Value.(*row[K, V]).value
	}
	return nil
}

// Len is how many keys there are.
func (t *Table[K, V]) Len() int { return len(t.byKey) }
