package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waylume/waylume/internal/durable"
)

// resume takes up the log in a directory where it was left, mends what a kill cut off, and returns what is wrong with its end.
func (w *writer) resume() (found []string, err error) {
	w.head = Head{Hash: zeroHash}
	if w.segments, err = listSegments(w.dir); err != nil {
		return nil, err
	}
	for i := range w.segments {
		if w.segments[i], err = w.segments[i].look(w.dir); err != nil {
			return nil, err
		}
	}
	head, err := w.openHead()
	if errors.Is(err, errHead) {
		found = append(found, err.Error())
	} else if err != nil {
		return nil, err
	}
	next := segment{index: 1}
	if n := len(w.segments); n > 0 {
		next.index = w.segments[n-1].index + 1
		damage, err := w.take(w.segments[n-1], head)
		if err != nil {
			return nil, err
		}
		found = append(found, damage...)
	}
	if head != nil && head.Sequence > w.head.Sequence {
		found = append(found, fmt.Sprintf("records %d to %d are missing at the end: the file %q has seen them",
			w.head.Sequence+1, head.Sequence, headName))
		w.head = *head // no number is given twice
		if w.file != nil {
			err = w.file.Close() // and the next begins another segment
			w.file = nil
		}
	}
	return found, errors.Join(err, durable.Sweep(filepath.Join(w.dir, next.name())))
}

// openHead opens the head file, and makes it, durably, if there is no log either: from then on its length never changes. The
// error may be errHead.
func (w *writer) openHead() (*Head, error) {
	head, err := readHead(w.dir)
	if err != nil && !errors.Is(err, errHead) {
		return nil, err
	}
	file, bad := os.OpenFile(filepath.Join(w.dir, headName), os.O_RDWR|os.O_CREATE, fileMode)
	if bad != nil {
		return nil, bad
	}
	w.headFile = file
	if err == nil && head != nil {
		return head, nil
	}
	if bad := errors.Join(file.Truncate(0), w.head.write(file), file.Sync(), durable.SyncDir(w.dir)); bad != nil {
		return nil, bad
	}
	if len(w.segments) == 0 {
		return nil, nil
	}
	return nil, errHead
}

// take reads the last segment, and goes on in it if it is whole and its hashes are made as they shall be.
func (w *writer) take(s segment, head *Head) (found []string, err error) {
	path := filepath.Join(w.dir, s.name())
	v := newVerifier(w.seal.key)
	if err := v.segment(path); err != nil {
		return nil, err
	}
	if v.started {
		w.head = v.report.Head
	}
	for _, f := range v.report.Findings {
		found = append(found, f.String())
	}
	if v.torn > 0 && (head == nil || head.Sequence <= w.head.Sequence) {
		if err := cutOff(path, v.size); err != nil {
			return nil, err
		}
		found = append(found, fmt.Sprintf("%s: %d bytes of a line that was never whole were cut off", s.name(), v.torn))
		v.torn = 0
	}
	if v.torn > 0 || !v.report.Sound() || v.algorithm != w.seal.algorithm() {
		return found, nil // the next line begins another segment
	}
	w.size = v.size
	w.file, err = w.openDisk(path)
	return found, err
}

// cutOff makes a file shorter, durably.
func cutOff(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	if err = file.Truncate(size); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
