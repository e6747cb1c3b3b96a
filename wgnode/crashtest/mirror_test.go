package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// mirror is what a store must have, from what the process that used it has told.
type mirror struct {
	records map[recordID]string
	// batch is what the store was given and has not answered about.
	batch []wgnode.Mutation
	// reading is when the reading began that the last checkpoint of the life that is or was stored; zero if it had none.
	reading time.Time
}

type recordID struct {
	kind wgnode.RecordKind
	key  string
}

func newMirror() *mirror { return &mirror{records: make(map[recordID]string)} }

// hear takes a line of the process.
func (m *mirror) hear(l line) {
	switch {
	case l.Committing != nil:
		m.batch = l.Committing
	case l.Committed:
		m.records, m.batch = m.with(m.batch), nil
		if !l.Reading.IsZero() {
			m.reading = l.Reading
		}
	case l.Refused:
		m.batch = nil
	}
}

func (m *mirror) with(batch []wgnode.Mutation) map[recordID]string {
	next := maps.Clone(m.records)
	for _, b := range batch {
		if id := (recordID{b.Kind, b.Key}); b.Delete {
			delete(next, id)
		} else {
			next[id] = string(b.Value)
		}
	}
	return next
}

// compare opens the file that a dead process has left, and takes over which of the two states it may have: with the batch that
// was under way, or without. It says which.
func (m *mirror) compare(path string) (withBatch bool, err error) {
	records, err := recordsIn(path)
	if err != nil {
		return false, err
	}
	underWay := len(m.batch) > 0
	before, after := m.records, m.with(m.batch)
	m.batch = nil
	switch {
	case maps.Equal(records, before):
		return false, nil
	case maps.Equal(records, after) && underWay:
		m.records = after
		return true, nil
	}
	return false, fmt.Errorf("%s has neither what was committed (%s) nor that with the batch under way (%s)", path,
		difference(records, before), difference(records, after))
}

func recordsIn(path string) (records map[recordID]string, err error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil // killed before it was made
	}
	store, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Millisecond})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	records = make(map[recordID]string)
	for r, err := range store.Load(context.Background()) {
		if err != nil {
			return nil, err
		}
		records[recordID{r.Kind, r.Key}] = string(r.Value)
	}
	return records, nil
}

func difference(got, want map[recordID]string) string {
	var b bytes.Buffer
	for id, value := range want {
		if other, ok := got[id]; !ok {
			fmt.Fprintf(&b, "missing %s %q; ", id.kind, id.key)
		} else if other != value {
			fmt.Fprintf(&b, "%s %q is %s, want %s; ", id.kind, id.key, other, value)
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			fmt.Fprintf(&b, "stray %s %q; ", id.kind, id.key)
		}
	}
	return b.String()
}
