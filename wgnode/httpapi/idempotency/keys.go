package idempotency

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

var (
	errReused = errors.New("the key was used for another request")
	errInUse  = errors.New("a request with the key is under way")
	errFull   = errors.New("there are too many keys under way or interrupted")
)

// Keys is what is known of all keys.
//
// An entry is begun, and in the store, before its request runs:
//
//	new -> under way -> finished      the answer is in the store, or it is known to be gone
//	        |   ^
//	        v   |  the next request with the key
//	      interrupted                 by a kill, a panic, an answer that leaves open what was done, or a store that fails
type Keys struct {
	cfg    Config
	secret Secret

	mu       sync.Mutex // guards all below; not held while the store is used
	entries  map[ID]*entry
	open     list.List // of *entry that are under way or interrupted, the oldest first
	finished list.List // of *entry, the oldest first
	bytes    int64     // that answers take
	owed     []Ref     // to be deleted from the store
}

type entry struct {
	Entry               // only Finished and Size change
	done  chan struct{} // not nil: it is under way, until this is closed
	place *list.Element
}

// New reads the entries that the store has.
func New(ctx context.Context, cfg Config) (*Keys, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	k := &Keys{cfg: cfg, secret: cfg.Store.Secret(), entries: make(map[ID]*entry)}
	var all []*entry
	for e, err := range cfg.Store.Load(ctx) {
		if err != nil {
			return nil, fmt.Errorf("idempotency: load: %w", err)
		}
		all = append(all, &entry{Entry: e})
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.Created, b.Created) })
	now := time.Now().UnixNano()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range all {
		e.Created = min(e.Created, now) // a clock that was ahead does not keep it for longer
		k.addLocked(e)
	}
	k.expireLocked()
	k.shrinkLocked(0, 0)
	return k, nil
}

// maxDeletes is how many entries are deleted with one change.
const maxDeletes = 1024

// turn is a request's, to run.
type turn struct {
	entry       *entry
	material    material
	interrupted bool
}

// claim says what to do with a request: it is its turn to run, or the entry that is found has the answer. It waits for another
// with the same key.
func (k *Keys) claim(ctx context.Context, s scope, digest [32]byte) (found, error) {
	id := s.id(k.secret)
	var patience <-chan time.Time
	for {
		f, err := k.look(id, s, digest)
		switch {
		case err != nil:
			return found{}, err
		case f.begun:
			return f, k.begin(ctx, f.turn)
		case f.wait == nil:
			return f, nil
		case k.cfg.Wait < 0:
			return found{}, errInUse
		}
		if patience == nil {
			timer := time.NewTimer(k.cfg.Wait)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-f.wait:
		case <-patience:
			return found{}, errInUse
		case <-ctx.Done():
			return found{}, context.Cause(ctx)
		}
	}
}

// begin puts the intent into the store.
func (k *Keys) begin(ctx context.Context, t turn) error {
	err := k.commit(ctx, Put{Entry: t.entry.Entry})
	if err != nil {
		k.forget(t)
	}
	return err
}

// commit puts something into the store, and deletes what is due.
func (k *Keys) commit(ctx context.Context, put ...Put) error {
	k.mu.Lock()
	n := min(len(k.owed), maxDeletes)
	owed := slices.Clone(k.owed[:n])
	k.owed = slices.Delete(k.owed, 0, n)
	k.mu.Unlock()
	err := k.cfg.Store.Commit(ctx, Change{Put: put, Delete: owed})
	if err != nil {
		k.mu.Lock()
		k.oweLocked(owed...)
		k.mu.Unlock()
	}
	return err
}

// finish keeps the answer of a request that has run: sealed, or none.
func (k *Keys) finish(ctx context.Context, t turn, sealed []byte) error {
	k.mu.Lock()
	e := t.entry.Entry
	e.Finished, e.Size = true, uint32(len(sealed))
	k.shrinkLocked(0, int64(e.Size))
	k.bytes += int64(e.Size)
	k.mu.Unlock()

	err := k.commit(context.WithoutCancel(ctx), Put{Entry: e, Answer: sealed})

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.bytes -= int64(e.Size)
	} else {
		t.entry.Entry = e
		k.open.Remove(t.entry.place)
		k.listLocked(t.entry)
	}
	t.entry.endLocked()
	return err
}

// interrupt leaves open what became of a request.
func (k *Keys) interrupt(t turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.entry.endLocked()
}

// forget has it that a request never was. What is in the store is deleted later: till then the worst is that it was interrupted.
func (k *Keys) forget(t turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropLocked(t.entry)
	t.entry.endLocked()
}

func (e *entry) endLocked() {
	close(e.done)
	e.done = nil
}

// Sweep deletes what is kept longer than it is to be, and what had to make room.
func (k *Keys) Sweep(ctx context.Context) error {
	for {
		k.mu.Lock()
		k.expireLocked()
		due := len(k.owed) > 0
		k.mu.Unlock()
		if !due {
			return nil
		}
		if err := k.commit(ctx); err != nil {
			return err
		}
	}
}

// Stats are numbers of the moment.
type Stats struct {
	// UnderWay, Interrupted and Finished are numbers of keys.
	UnderWay, Interrupted, Finished int
	// Bytes is what answers take in the store.
	Bytes int64
}

// Stats returns how many keys there are.
func (k *Keys) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Stats{Finished: k.finished.Len(), Bytes: k.bytes}
	for at := k.open.Front(); at != nil; at = at.Next() {
		if at.Value.(*entry).done != nil {
			s.UnderWay++
		} else {
			s.Interrupted++
		}
	}
	return s
}
