package idempotency

import (
	"container/list"
	"crypto/hmac"
	"time"
)

// found is what there is with an ID.
type found struct {
	turn
	begun    bool            // it is new, and to be put into the store before the request runs
	wait     <-chan struct{} // closed when the request that is under way is not any more
	answered *Entry          // it has finished
}

// look finds the entry of an ID, or begins one.
func (k *Keys) look(id ID, s scope, digest [32]byte) (f found, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	e := k.entries[id]
	if e != nil && k.overLocked(e, now) {
		k.dropLocked(e)
		e = nil
	}
	if f.begun = e == nil; f.begun {
		if e, err = k.admitLocked(id, now); err != nil {
			return found{}, err
		}
	}
	f.entry = e
	if f.material, err = s.material(k.secret, e.Salt); err != nil {
		return found{}, err
	}
	mark := f.material.mark(digest)
	switch {
	case f.begun:
		e.Print, e.done = mark, make(chan struct{})
		k.addLocked(e)
	case !hmac.Equal(mark[:], e.Print[:]):
		return found{}, errReused
	case e.done != nil:
		f.wait = e.done
	case e.Finished:
		copied := e.Entry
		f.answered = &copied
	default:
		f.interrupted, e.done = true, make(chan struct{})
	}
	return f, nil
}

func (k *Keys) admitLocked(id ID, now time.Time) (*entry, error) {
	k.expireLocked()
	k.shrinkLocked(1, 0)
	if len(k.entries) >= k.cfg.MaxEntries {
		return nil, errFull
	}
	return &entry{Entry: Entry{ID: id, Salt: random(), Created: now.UnixNano()}}, nil
}

func (k *Keys) addLocked(e *entry) {
	k.entries[e.ID] = e
	if e.Finished {
		k.bytes += int64(e.Size)
	}
	k.listLocked(e)
}

// listLocked puts an entry in its place by age, which is at the end unless its request took long or was interrupted.
func (k *Keys) listLocked(e *entry) {
	in := &k.open
	if e.Finished {
		in = &k.finished
	}
	for at := in.Back(); at != nil; at = at.Prev() {
		if at.Value.(*entry).Created <= e.Created {
			e.place = in.InsertAfter(e, at)
			return
		}
	}
	e.place = in.PushFront(e)
}

func (k *Keys) dropLocked(e *entry) {
	delete(k.entries, e.ID)
	if e.Finished {
		k.finished.Remove(e.place)
		k.bytes -= int64(e.Size)
	} else {
		k.open.Remove(e.place)
	}
	k.oweLocked(e.Ref())
}

// oweLocked has entries deleted from the store with later changes. While a store fails there is a bound to what is remembered:
// the rest is found there by the next New.
func (k *Keys) oweLocked(refs ...Ref) {
	k.owed = append(k.owed, refs[:min(len(refs), max(0, k.cfg.MaxEntries+maxDeletes-len(k.owed)))]...)
}

// overLocked reports that the time of an entry is over, and nobody works on it.
func (k *Keys) overLocked(e *entry, now time.Time) bool {
	return e.done == nil && now.Sub(e.created()) >= k.cfg.Retention
}

func (k *Keys) expireLocked() {
	now := time.Now()
	for _, entries := range []*list.List{&k.finished, &k.open} {
		for at := entries.Front(); at != nil; {
			e := at.Value.(*entry)
			if e.done == nil && !k.overLocked(e, now) {
				break
			}
			at = at.Next()
			if e.done == nil {
				k.dropLocked(e)
			}
		}
	}
}

// shrinkLocked makes room, as far as what has finished can give it.
func (k *Keys) shrinkLocked(entries int, bytes int64) {
	for at := k.finished.Front(); at != nil; at = k.finished.Front() {
		if len(k.entries)+entries <= k.cfg.MaxEntries && k.bytes+bytes <= k.cfg.MaxBytes {
			return
		}
		k.dropLocked(at.Value.(*entry))
	}
}
