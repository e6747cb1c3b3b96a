package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/waylume/waylume/internal/durable"
)

// disk is what the writer does with a segment.
type disk interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// writer appends lines to the last segment.
type writer struct {
	dir  string
	opts Options
	seal sealer
	// wrap stands between the writer and its files in tests.
	wrap     func(disk) disk
	headFile *os.File

	// file is the segment that is written to; nil: the next line begins one. size is what is on the disk of it; dirty: there
	// may be more, which must go before the next line.
	file  disk
	size  int64
	dirty bool
	// segments are all there are; head is the last line on the disk.
	segments []segment
	head     Head
	// retired is the last segment of which the log says that it was deleted.
	retired uint64
	buf     []byte
}

// openDisk opens a segment for appending.
func (w *writer) openDisk(path string) (disk, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return nil, err
	}
	if w.wrap != nil {
		return w.wrap(file), nil
	}
	return file, nil
}

// append writes records behind each other, and returns when they are on the disk. After err the log is as it was. Segments
// that are too old and could not be deleted are in retained, and tried again.
func (w *writer) append(now time.Time, records []*Record) (retained, err error) {
	if err := w.mend(); err != nil {
		return nil, err
	}
	now = now.UTC().Round(0)
	if w.due(now) {
		if err := w.rotate(now); err != nil {
			return nil, err
		}
	}
	old := w.expired(now)
	if n := len(old); n > 0 && old[n-1].index > w.retired {
		records = append(records, &Record{Kind: KindRetired, Through: old[n-1].index, LastHash: w.segments[n].before})
	}
	if err := w.write(now, records); err != nil {
		return nil, err
	}
	if n := len(old); n > 0 {
		w.retired = old[n-1].index
	}
	return w.remove(old), nil
}

// write appends the lines of records to the segment.
func (w *writer) write(now time.Time, records []*Record) error {
	if len(records) == 0 {
		return nil
	}
	head := w.head
	w.buf = w.buf[:0]
	for _, r := range records {
		var err error
		if head, err = w.line(now, r, head); err != nil {
			return err
		}
	}
	_, err := w.file.Write(w.buf)
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		w.dirty = true
		return errors.Join(err, w.mend()) // what failed is not to be taken for written after a kill
	}
	w.size += int64(len(w.buf))
	w.reach(head)
	return nil
}

// reach takes a line for the last on the disk.
func (w *writer) reach(head Head) {
	w.head = head
	if err := head.write(w.headFile); err != nil {
		w.opts.Logger.Warn("head of the audit log not written", "error", err)
	}
}

// line appends the line of a record to the buffer, and returns the head that it makes.
func (w *writer) line(now time.Time, r *Record, head Head) (Head, error) {
	r.Sequence, r.Previous = head.Sequence+1, head.Hash
	if r.Time.IsZero() {
		r.Time = now
	}
	var err error
	w.buf, err = r.encode(w.buf, w.seal)
	return Head{r.Sequence, r.Hash}, err
}

// mend cuts off what a failure left.
func (w *writer) mend() error {
	if !w.dirty {
		return nil
	}
	if err := w.file.Truncate(w.size); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.dirty = false
	return nil
}

// due reports whether another segment is to begin.
func (w *writer) due(now time.Time) bool {
	if w.file == nil {
		return true
	}
	age := now.Sub(w.segments[len(w.segments)-1].began)
	return age >= w.opts.SegmentAge || age <= -w.opts.SegmentAge || w.size >= w.opts.SegmentSize
}

// rotate begins another segment.
func (w *writer) rotate(now time.Time) error {
	s := segment{index: 1, began: now, before: w.head.Hash}
	if n := len(w.segments); n > 0 {
		s.index = w.segments[n-1].index + 1
	}
	w.buf = w.buf[:0]
	head, err := w.line(now, &Record{Kind: KindSegment, Segment: &SegmentInfo{
		Schema: Schema, Index: s.index, Algorithm: w.seal.algorithm(), KeyID: w.seal.keyID(),
	}}, w.head)
	if err != nil {
		return err
	}
	if err := createSegment(w.dir, s, w.buf); err != nil {
		return err
	}
	path := filepath.Join(w.dir, s.name())
	file, err := w.openDisk(path)
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	former := w.file
	w.file, w.size = file, int64(len(w.buf))
	w.reach(head)
	w.segments = append(w.segments, s)
	if former != nil {
		if err := former.Close(); err != nil { // all in it was synced
			w.opts.Logger.Warn("segment of the audit log not closed", "error", err)
		}
	}
	return nil
}

// expired returns the segments that are past their retention. Time has come as far as the clock and both last segments say: a
// clock that is ahead for less than the age of a segment deletes nothing.
func (w *writer) expired(now time.Time) []segment {
	n := len(w.segments)
	if n < 2 {
		return nil
	}
	for _, s := range w.segments[n-2:] {
		if s.began.Before(now) {
			now = s.began
		}
	}
	old := 0
	for i := 1; i < n; i++ {
		if s := w.segments[i]; !s.began.IsZero() && !s.began.After(now.Add(-w.opts.Retention)) {
			old = i
		}
	}
	return w.segments[:old]
}

// remove deletes segments, of which the log says so.
func (w *writer) remove(old []segment) error {
	for _, s := range old {
		if err := os.Remove(filepath.Join(w.dir, s.name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("segments before %d: %w", w.segments[len(old)].index, err)
		}
		w.segments = w.segments[1:]
	}
	if len(old) > 0 {
		return durable.SyncDir(w.dir)
	}
	return nil
}

// close closes the files.
func (w *writer) close() error {
	var errs []error
	if w.file != nil {
		errs = append(errs, w.file.Close())
	}
	if w.headFile != nil {
		errs = append(errs, w.headFile.Close())
	}
	return errors.Join(errs...)
}
