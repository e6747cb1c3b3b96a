package idempotency

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"time"
)

// ID names an entry.
type ID [32]byte

// Secret is a store's own: 32 random bytes, made with the store, and the same as long as its entries are.
type Secret [32]byte

// Conditions to tell apart with [errors.Is].
var (
	// ErrNotFound: a store has no answer of an entry.
	ErrNotFound = errors.New("not found")
	// ErrDamaged: an entry or an answer cannot be what this package wrote.
	ErrDamaged = errors.New("damaged record")
)

// Store keeps entries and sealed answers over a restart. All methods may be called from any goroutine. [MemoryStore] forgets with
// the process; package boltkeys keeps one file.
type Store interface {
	// Secret is the store's secret.
	Secret() Secret
	// Load yields every entry, in any order. It stops at the first error, which it yields. The loop's body must not call Commit.
	Load(ctx context.Context) iter.Seq2[Entry, error]
	// Answer returns the sealed answer of an entry, which is the caller's. Errors: [ErrNotFound].
	Answer(ctx context.Context, id ID) ([]byte, error)
	// Commit makes a change durable, whole or not at all, before it returns nil. After an error either may be the case. Concurrent
	// calls should share the cost of one. The store keeps no reference to the change.
	Commit(ctx context.Context, c Change) error
}

// Change is a difference between what a store has and what it is to have.
type Change struct {
	// Put adds entries, or replaces them and their answers.
	Put []Put
	// Delete removes entries with their answers, if they are there and their salt is the one given.
	Delete []Ref
}

// Put is an entry with its sealed answer, which is empty if it has none.
type Put struct {
	Entry  Entry
	Answer []byte
}

// Ref names an entry, and no other that has taken its ID since.
type Ref struct {
	ID   ID
	Salt [32]byte
}

// Entry is what is known of a key.
type Entry struct {
	ID ID
	// Salt is random, and new with each use of an ID.
	Salt [32]byte
	// Print tells one request from another.
	Print [32]byte
	// Created is when the request came, in nanoseconds since 1970.
	Created int64
	// Finished: the request has run. Else it was begun.
	Finished bool
	// Size is that of the sealed answer in bytes; 0: none was kept.
	Size uint32
}

// Ref names the entry.
func (e Entry) Ref() Ref { return Ref{ID: e.ID, Salt: e.Salt} }

func (e Entry) created() time.Time { return time.Unix(0, e.Created) }

const (
	entryVersion = 1
	entryLen     = 1 + 1 + 8 + 4 + 32 + 32 + 4
)

// AppendBinary appends what [UnmarshalEntry] reads: 82 bytes, without the ID, for which a store has a place.
func (e Entry) AppendBinary(b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, entryVersion, 0)
	if e.Finished {
		b[start+1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.Created))
	b = binary.BigEndian.AppendUint32(b, e.Size)
	b = append(b, e.Salt[:]...)
	b = append(b, e.Print[:]...)
	return binary.BigEndian.AppendUint32(b, sum(e.ID, b[start:])), nil
}

// UnmarshalEntry reads the entry that a store has with an ID. Errors match [ErrDamaged].
func UnmarshalEntry(id ID, b []byte) (Entry, error) {
	switch {
	case len(b) != entryLen:
		return Entry{}, fmt.Errorf("%w: an entry of %d bytes, not %d", ErrDamaged, len(b), entryLen)
	case binary.BigEndian.Uint32(b[entryLen-4:]) != sum(id, b[:entryLen-4]):
		return Entry{}, fmt.Errorf("%w: an entry whose checksum is wrong", ErrDamaged)
	case b[0] != entryVersion || b[1] > 1:
		return Entry{}, fmt.Errorf("%w: an entry of version %d, kind %d", ErrDamaged, b[0], b[1])
	}
	e := Entry{
		ID: id, Finished: b[1] == 1,
		Created: int64(binary.BigEndian.Uint64(b[2:])), Size: binary.BigEndian.Uint32(b[10:]),
	}
	copy(e.Salt[:], b[14:])
	copy(e.Print[:], b[46:])
	return e, nil
}

func sum(id ID, b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(id[:], table), table, b)
}
