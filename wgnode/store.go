package wgnode

import (
	"context"
	"iter"
)

// Store keeps what a node must not forget: peers, accounts, usage, its own key unless that has a file. A node is the only user of its store.
// [MemoryStore] forgets with the process; package boltstore keeps one file.
type Store interface {
	// Load yields every record, in no particular order. It stops at the first error, which it yields. The loop's body
	// may keep what it is given, and must not call Commit.
	Load(ctx context.Context) iter.Seq2[Record, error]

	// Commit makes a batch durable, whole or not at all, before it returns nil. After an error either may be the case:
	// the node commits the opposite as soon as the store works again. Deleting what is not there is no error. Of two
	// mutations of one record in a batch the later holds. The store keeps no reference to the batch.
	Commit(ctx context.Context, batch []Mutation) error

	// Close frees the store. It may be called more than once.
	Close() error
}

// RecordKind is a namespace of records.
type RecordKind string

// The kinds of records that a node keeps.
const (
	// RecordNode holds what the node knows of itself: its private key or whose that is, its last sequence number, how long it has run.
	RecordNode RecordKind = "node"
	// RecordAccount holds an account, by its ID.
	RecordAccount RecordKind = "account"
	// RecordPeer holds a peer, by its public key in base64.
	RecordPeer RecordKind = "peer"
	// RecordAccountUsage holds an account's counters and the state of its data cap, by its ID.
	RecordAccountUsage RecordKind = "account-usage"
	// RecordPeerUsage holds a peer's counters and the state of its data cap, by its public key in base64.
	RecordPeerUsage RecordKind = "peer-usage"
	// RecordQuarantine holds when the quarantine of a former peer's address is over, by the address.
	RecordQuarantine RecordKind = "quarantine"
)

// Record is one stored value. A store does not look into Value, which is JSON with a version.
type Record struct {
	Kind  RecordKind
	Key   string // not empty, at most 1 KiB
	Value []byte
}

// Mutation is one part of a batch: Put a record, or delete the one with the same kind and key.
type Mutation struct {
	Record
	// Delete removes the record; Value is then ignored.
	Delete bool
}
