// Package keytable has a map by public keys for hundreds of thousands of values that know their key anyway. A map from keys takes some
// 60 bytes for each, most of it a second copy of the key; this one takes 25, as it finds a value by a hash and compares the key that
// the value has.
package keytable

import (
	"hash/maphash"
	"iter"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Value is what a [Map] holds. Its key may change only while the value is in no map.
type Value interface{ Key() wgtypes.Key }

// Map is a map from public keys to values. The zero Map is empty, and ready. It is not safe for concurrent use, as a map is not.
type Map[V Value] struct {
	seed   maphash.Seed // nobody can choose keys with one hash
	hashed map[uint64]V
	// others are those whose hash is another's, of whom hashed has the one that came first.
	others map[wgtypes.Key]V
	few    uint64 // how many hashes there are, for tests of equal ones; 0: all
}

func (m *Map[V]) hashOf(key wgtypes.Key) uint64 {
	hash := maphash.Bytes(m.seed, key[:])
	if m.few > 0 {
		hash %= m.few
	}
	return hash
}

// Get returns the value that has a key, and whether there is one.
func (m *Map[V]) Get(key wgtypes.Key) (V, bool) {
	if m.hashed != nil {
		if v, ok := m.hashed[m.hashOf(key)]; ok && v.Key() == key {
			return v, true
		}
	}
	v, ok := m.others[key]
	return v, ok
}

// Set adds a value, or has it take the place of the one with its key.
func (m *Map[V]) Set(v V) {
	if m.hashed == nil {
		m.seed, m.hashed = maphash.MakeSeed(), make(map[uint64]V)
	}
	key := v.Key()
	hash := m.hashOf(key)
	_, other := m.others[key]
	if had, ok := m.hashed[hash]; !other && (!ok || had.Key() == key) {
		m.hashed[hash] = v
		return
	}
	if m.others == nil {
		m.others = make(map[wgtypes.Key]V)
	}
	m.others[key] = v
}

// Delete removes the value that has a key, if there is one.
func (m *Map[V]) Delete(key wgtypes.Key) {
	if m.hashed == nil {
		return
	}
	hash := m.hashOf(key)
	if v, ok := m.hashed[hash]; ok && v.Key() == key {
		delete(m.hashed, hash)
		return
	}
	delete(m.others, key)
}

// Len returns the number of values.
func (m *Map[V]) Len() int { return len(m.hashed) + len(m.others) }

// All yields the values in no order.
func (m *Map[V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range m.hashed {
			if !yield(v) {
				return
			}
		}
		for _, v := range m.others {
			if !yield(v) {
				return
			}
		}
	}
}
