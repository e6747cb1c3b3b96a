package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
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
	// gone are the subjects that the store has forgotten since they were judged last.
	gone []gone
	// logging is since when the usage log is written to; zero: it is not. hesitant: that took so long that nobody waited for it.
	logging  time.Time
	hesitant bool
	err      error // what could not be read
}

// gone is a subject that was removed, and what was stored last of what it had used.
type gone struct {
	subject subject
	logged  usagelog.Subject
	stored  quota.Counters
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
		m.take(m.batch)
		m.batch = nil
		if !l.Reading.IsZero() {
			m.reading = l.Reading
		}
	case l.Refused:
		m.batch = nil
	case l.Logging:
		m.logging = time.Now()
	case l.Logged:
		m.hesitant, m.logging = m.hesitant || time.Since(m.logging) > logPatience, time.Time{}
	}
}

// take makes the records what they are with a batch, and notes who is gone then.
func (m *mirror) take(batch []wgnode.Mutation) {
	next := m.with(batch)
	for id, value := range m.records {
		if _, ok := next[id]; ok || id.kind != wgnode.RecordPeer && id.kind != wgnode.RecordAccount {
			continue
		}
		g, err := goneOf(id, value, m.records)
		if err != nil {
			m.err = errors.Join(m.err, fmt.Errorf("%s %q, which was removed: %w", id.kind, id.key, err))
		}
		m.gone = append(m.gone, g)
	}
	m.records = next
}

// goneOf is who was removed with a record.
func goneOf(id recordID, value string, records map[recordID]string) (g gone, err error) {
	usage := recordID{wgnode.RecordAccountUsage, id.key}
	g.logged = usagelog.Subject{Kind: usagelog.Account, Name: id.key}
	g.subject.Account = id.key
	if id.kind == wgnode.RecordPeer {
		usage.kind, g.logged.Kind = wgnode.RecordPeerUsage, usagelog.Peer
		g.subject = subject{}
		if g.subject.Peer, err = wgtypes.ParseKey(id.key); err != nil {
			return g, err
		}
	}
	var record struct {
		Sequence uint64 `json:"sequence"`
	}
	var stored storedUsage
	err = errors.Join(json.Unmarshal([]byte(value), &record), json.Unmarshal([]byte(records[usage]), &stored))
	g.logged.Sequence, g.stored = record.Sequence, stored.Counters
	return g, err
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
	batch := m.batch
	m.batch = nil
	switch {
	case maps.Equal(records, before):
		return false, nil
	case maps.Equal(records, after) && underWay:
		m.take(batch)
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
