package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/internal/durable"
)

const (
	segmentPrefix = "audit-"
	segmentExt    = ".jsonl"

	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// segment is a file of the log.
type segment struct {
	// index is its place in the order, from 1.
	index uint64
	// began is when its first line was written, and before the hash of the line before that. Zero: it cannot be read.
	began  time.Time
	before string
}

// name is the file's, such as "audit-0000000017.jsonl".
func (s segment) name() string { return fmt.Sprintf("%s%010d%s", segmentPrefix, s.index, segmentExt) }

// listSegments returns the segments of a directory in their order. Other files are none of ours.
func listSegments(dir string) ([]segment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, f := range files {
		digits, ours := strings.CutPrefix(strings.TrimSuffix(f.Name(), segmentExt), segmentPrefix)
		n, err := strconv.ParseUint(digits, 10, 63)
		if s := (segment{index: n}); ours && err == nil && n > 0 && s.name() == f.Name() {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b segment) int { return cmp.Compare(a.index, b.index) })
	return list, nil
}

// errStop ends the reading of a segment early, without an error.
var errStop = errors.New("stop")

// unchecked has scan check no hashes.
func unchecked(Record) (*sealer, error) { return nil, nil }

// look reads when the segment began and what was before; a first line that is damaged leaves both zero.
func (s segment) look(dir string) (segment, error) {
	err := readSegment(filepath.Join(dir, s.name()), func(r io.Reader) error {
		return scan(r, unchecked, func(l line) error {
			if l.wrong == "" && l.record.Kind == KindSegment {
				s.began, s.before = l.record.Time, l.record.Previous
			}
			return errStop
		})
	})
	return s, err
}

// readSegment opens a file for read.
func readSegment(path string, read func(io.Reader) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err = read(file); errors.Is(err, errStop) {
		err = nil
	}
	return err
}

// createSegment makes a segment with its first line, durably: it is there whole, or not at all.
func createSegment(dir string, s segment, first []byte) (err error) {
	path := filepath.Join(dir, s.name())
	file, err := os.CreateTemp(dir, durable.Prefix(path)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(file.Name()); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	_, err = file.Write(first)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := durable.Link(file.Name(), path); err != nil {
		return err
	}
	if err := durable.SyncDir(dir); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
