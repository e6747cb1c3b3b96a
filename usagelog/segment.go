package usagelog

import (
	"cmp"
	"context"
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
	segmentExt = ".usage"
	// temporaryExt is the name of a segment that is being made.
	temporaryExt = ".new"
	// indexDigits is the least number of digits of an index.
	indexDigits = 10

	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// segment is a file of the log. All its frames but those of the base have times of its day.
type segment struct {
	// index is its place in the order of appending, from 1.
	index uint64
	// day is its UTC day, in days since 1970.
	day int64
	// limit is how many of its bytes may be read; -1: all there are.
	limit int64
}

// dayOf returns the UTC day of a frame's time.
func dayOf(at int64) int64 { return at / int64(day) }

// begin is when the segment's day begins, as a frame's time.
func (s segment) begin() int64 { return s.day * int64(day) }

// end is when the segment's day ends.
func (s segment) end() int64 { return s.begin() + int64(day) }

// name is the file's, such as "0000000017-2026-11-21.usage".
func (s segment) name() string {
	return fmt.Sprintf("%0*d-%s%s", indexDigits, s.index, time.Unix(0, s.begin()).UTC().Format(time.DateOnly), segmentExt)
}

// parseSegment reads a name; ok is false if it is not a segment's.
func parseSegment(name string) (s segment, ok bool) {
	stem, ok := strings.CutSuffix(name, segmentExt)
	if !ok {
		return s, false
	}
	index, date, _ := strings.Cut(stem, "-")
	n, err := strconv.ParseUint(index, 10, 63)
	if err != nil || n == 0 {
		return s, false
	}
	begin, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return s, false
	}
	s = segment{index: n, day: begin.Unix() / int64(day/time.Second), limit: -1}
	return s, s.name() == name
}

// listSegments returns the segments of a directory in their order. Other files are none of ours.
func listSegments(dir string) ([]segment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, f := range files {
		if s, ok := parseSegment(f.Name()); ok {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b segment) int { return cmp.Compare(a.index, b.index) })
	return list, nil
}

// errStop ends the reading of a segment early, without an error.
var errStop = errors.New("stop")

// read hands the frames of the segment to each, which may end it with errStop, and returns what was damaged. A segment that
// is there no more has none: it was deleted for its age.
func (s segment) read(ctx context.Context, dir string, each func(*frame) error) (damage []Damage, err error) {
	path := filepath.Join(dir, s.name())
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("read", path, err)
	}
	defer func() { err = errors.Join(err, explain("read", path, file.Close())) }()
	var r io.Reader = file
	if s.limit >= 0 {
		r = io.LimitReader(file, s.limit)
	}
	scan := newScanner(r)
	err = scan.header()
	for err == nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var f *frame
		if f, err = scan.next(); err == nil {
			err = each(f)
		}
	}
	for _, d := range scan.damage {
		d.Segment = s.name()
		damage = append(damage, d)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, errStop) {
		err = nil
	}
	return damage, explain("read", path, err)
}

// hasBase reports whether the segment begins with a base that is whole, so that nothing before it need be read.
func (s segment) hasBase(ctx context.Context, dir string) (bool, error) {
	whole := false
	damage, err := s.read(ctx, dir, func(f *frame) error {
		whole = f.flags&(flagBase|flagLast) == flagBase|flagLast
		if whole || f.flags&flagBase == 0 {
			return errStop
		}
		return nil
	})
	return whole && len(damage) == 0, err
}

// createSegment makes the file with what it begins with, durably: it is there whole, or not at all.
func createSegment(dir string, s segment, data []byte) (*os.File, error) {
	path := filepath.Join(dir, s.name())
	if err := writeFile(path+temporaryExt, data); err != nil {
		return nil, err
	}
	if err := os.Rename(path+temporaryExt, path); err != nil {
		return nil, errors.Join(err, os.Remove(path+temporaryExt))
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	file, err := os.OpenFile(path, os.O_RDWR, fileMode)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return file, nil
}

// writeFile writes a file, syncs it, and closes it: Windows renames none that is open. What failed is removed.
func writeFile(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
