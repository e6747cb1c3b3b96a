package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Read hands the records of a log, or of one segment, to each in their order, and ends with its error. Nothing is verified, and
// no key is needed; the log may be in use. Lines that are damaged are left out; the error says how many there were, after all
// others have been handed out. A last line without an end is left out silently: it is being written.
func Read(path string, each func(Record) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return explain("read", path, err)
	}
	paths := []string{path}
	if info.IsDir() {
		list, err := listSegments(path)
		if err != nil {
			return explain("read", path, err)
		}
		paths = paths[:0]
		for _, s := range list {
			paths = append(paths, filepath.Join(path, s.name()))
		}
	}
	damaged := 0
	for _, p := range paths {
		err := readSegment(p, func(r io.Reader) error {
			return scan(r, unchecked, func(l line) error {
				switch {
				case l.torn:
					return nil
				case l.wrong != "":
					damaged++
					return nil
				}
				return each(l.record)
			})
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted for its age just now
			return explain("read", p, err)
		}
	}
	if damaged > 0 {
		return explain("read", path, fmt.Errorf("%w: %d lines are damaged: verify the log", ErrDamaged, damaged))
	}
	return nil
}
