package wggo

import (
	"sync"
	"time"
)

const (
	indexShards = 64
	// indexLife is longer than a message with an index can come after the index was sent: a session ends 180 s after its handshake,
	// and a handshake is tried for 5 s with one index (WireGuard paper, section 6.1).
	indexLife = 200 * time.Second
	// indexMost is how many a shard takes in one life, a million in all. Only peers bring some about, and each 50 a second at most.
	indexMost = 1 << 14
)

// indices are the receiver indices that a device chose. They are kept for one to two lives. The zero value is empty.
type indices struct{ shards [indexShards]indexShard }

type indexShard struct {
	mu         sync.RWMutex
	young, old map[uint32]struct{} // guarded by mu, as all below
	since      time.Time           // when young was begun
	_          [64]byte            // shards in one cache line would hold each other up
}

func (x *indices) shard(index uint32) *indexShard { return &x.shards[index%indexShards] }

func (x *indices) has(index uint32) bool {
	s := x.shard(index)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.young[index]; ok {
		return true
	}
	_, ok := s.old[index]
	return ok
}

func (x *indices) add(index uint32, now time.Time) {
	s := x.shard(index)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || now.Sub(s.since) >= indexLife || len(s.young) >= indexMost {
		if now.Sub(s.since) >= 2*indexLife {
			s.young = nil
		}
		s.old, s.young, s.since = s.young, make(map[uint32]struct{}), now
	}
	s.young[index] = struct{}{}
}
