package usagelog

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
)

// tracked is what the writer knows of a subject.
type tracked struct {
	subject Subject
	// counters are the highest that were appended, and next those that are being appended.
	counters, next Counters
	// appended: the log has the subject.
	appended bool
	// id stands for the subject in the segment of this index, with these counters.
	id      uint64
	index   uint64
	defined Counters
	// turn is the last Append that had the subject; changed: it has something to say of it.
	turn    uint64
	changed bool
}

// writer appends frames to segments.
type writer struct {
	dir  string
	sync bool

	// file is the segment that is written to; nil: the next Append begins one. size is what was appended whole; dirty: there
	// may be more in the file, which is in nobody's way but must go before the next.
	file    *os.File
	segment segment
	size    int64
	dirty   bool
	// index is the segment's for whose ids tracked.index must be.
	index  uint64
	nextID uint64

	subjects map[Subject]*tracked
	// known, highest, at and allAt are as in replay.
	known, highest uint64
	at, allAt      int64

	// turn counts Appends; changed are the subjects that this one has something to say of, and defined those to which it
	// gave an id.
	turn             uint64
	changed, defined []*tracked
	buf              []byte
}

// newWriter goes on from what was replayed.
func newWriter(dir string, sync bool, r *replay) writer {
	w := writer{
		dir: dir, sync: sync, subjects: make(map[Subject]*tracked, len(r.subjects)),
		known: r.known, highest: r.highest, at: r.at, allAt: r.allAt,
	}
	for subject, s := range r.subjects {
		w.subjects[subject] = &tracked{subject: subject, counters: s.counters, appended: true}
	}
	return w
}

// resume goes on in the last segment, which was replayed last.
func (w *writer) resume(r *replay) error {
	file, err := os.OpenFile(filepath.Join(w.dir, w.segment.name()), os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	w.file, w.index, w.nextID = file, w.segment.index, uint64(len(r.ids))
	for id, d := range r.ids {
		if d.state != nil {
			t := w.subjects[d.state.subject]
			t.id, t.index, t.defined = uint64(id), w.index, d.counters
		}
	}
	return nil
}

// prepare finds out what has changed.
func (w *writer) prepare(readings []Reading) {
	w.turn++
	w.changed = w.changed[:0]
	for _, r := range readings {
		t := w.subjects[r.Subject]
		if t == nil {
			t = &tracked{subject: r.Subject}
			w.subjects[r.Subject] = t
		}
		if t.turn != w.turn {
			t.turn, t.next, t.changed = w.turn, t.counters, false
		}
		t.next = t.next.highest(r.Counters)
		if !t.changed && (!t.appended || t.next != t.counters) {
			t.changed = true
			w.changed = append(w.changed, t)
		}
	}
}

// pack writes what was prepared as frames: first the subjects that the segment has defined, then those that it has not.
func (w *writer) pack(p *packer) {
	slices.SortFunc(w.changed, func(a, b *tracked) int {
		return cmp.Or(cmp.Compare(w.place(a), w.place(b)), compareSubjects(a.subject, b.subject))
	})
	p.open()
	for _, t := range w.changed {
		if t.index == w.index {
			p.add(entry{t.id, t.next.above(t.defined)})
		} else {
			p.define(w.define(t, t.next))
		}
	}
}

// place is the id of a subject in the segment, or past all if it has none.
func (w *writer) place(t *tracked) uint64 {
	if t.index == w.index {
		return t.id
	}
	return maxIDs
}

// define gives a subject an id in the segment.
func (w *writer) define(t *tracked, counters Counters) defining {
	t.id, t.index, t.defined = w.nextID, w.index, counters
	w.nextID++
	w.defined = append(w.defined, t)
	return defining{entry{t.id, counters}, t.subject}
}

// undo forgets what was prepared and could not be written.
func (w *writer) undo() {
	for _, t := range w.defined {
		t.index = 0
	}
	w.nextID -= uint64(len(w.defined))
	w.defined = w.defined[:0]
	for _, t := range w.changed {
		if !t.appended {
			delete(w.subjects, t.subject)
		}
	}
}

// settle takes what was prepared for written.
func (w *writer) settle(h head) {
	w.defined = w.defined[:0]
	for _, t := range w.changed {
		t.counters, t.appended = t.next, true
		w.highest = max(w.highest, t.subject.Sequence)
	}
	w.at = h.at
	if h.flags&flagAll == 0 {
		return
	}
	w.known, w.allAt = w.highest, h.at
	for subject, t := range w.subjects {
		if t.turn != w.turn {
			delete(w.subjects, subject)
		}
	}
}

// close closes the segment that is open, if one is.
func (w *writer) close() error {
	if w.file == nil {
		return nil
	}
	file := w.file
	w.file, w.index = nil, 0
	return file.Close()
}

// inOrder returns the subjects that the log has.
func (w *writer) inOrder() []*tracked {
	var list []*tracked
	for _, t := range w.subjects {
		if t.appended {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *tracked) int { return cmp.Compare(a.subject.Sequence, b.subject.Sequence) })
	return list
}
