package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	magic      = "waylume used tokens 1"
	recordSize = len(ID{}) + 8
	mode       = 0o600
)

type entry struct {
	id    ID
	until int64
}

// Journal is what a Cache writes to: two files, PATH and PATH.old, which was PATH before. Each begins with a line that names
// the boot of the system in which it was begun, and the floor; records of one length follow. What was written outlives the
// process, however that ends, for the system has it. It is not forced to the disk, so after another boot the files say nothing.
//
// A new PATH is begun when the one has been written to for longer than any token is remembered: all in PATH.old has expired by
// then, and what the two hold is bounded by what is used in twice that time.
type Journal struct {
	path   string
	bootID string
	window int64 // seconds
	floor  int64
	found  []entry // what was there, until a Cache takes it

	mu    sync.Mutex
	file  *os.File // nil: closed
	size  int64    // what of the file is whole
	begun int64    // when it was, in seconds
}

// OpenJournal opens the journal of a path, or begins it. Window is the longest that a token is remembered, in seconds. BootID
// names the boot of the system, and is empty where nothing does. Floor is what [Journal.Floor] returns if the files do not have
// all that was used before: they are of another boot, or damaged.
func OpenJournal(path, bootID string, window, now, floor int64) (*Journal, error) {
	j := &Journal{path: path, bootID: bootID, window: window}
	for _, p := range []string{path + ".old", path} {
		whole, err := j.load(p)
		if err != nil {
			return nil, err
		}
		if !whole {
			j.floor = max(j.floor, floor)
		}
	}
	j.found = slices.DeleteFunc(j.found, func(e entry) bool { return e.until < now })
	f, size, err := j.write(j.found)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(f.Name(), path), remove(path+".old")); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	j.file, j.size, j.begun = f, size, now
	return j, nil
}

// Floor is a second: tokens that were issued in it, or before, may have been used without a trace. 0: there are none.
func (j *Journal) Floor() int64 { return j.floor }

// load reads a file's records. Not whole: the file is there, and others may have been in it. One that is not there never was: the
// journal is new, or was between two files when the process ended.
func (j *Journal) load(path string) (whole bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	header, data, _ := bytes.Cut(data, []byte("\n"))
	rest, ok := strings.CutPrefix(string(header), magic+" ")
	boot, number, _ := strings.Cut(rest, " ")
	floor, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || boot != j.bootID || j.bootID == "" {
		return false, nil //nolint:nilerr // what is wrong with the file does not matter: it says nothing
	}
	j.floor = max(j.floor, floor)
	// A record that is cut short at the end was being written: nobody was told that the token is good.
	for ; len(data) >= recordSize; data = data[recordSize:] {
		until := binary.BigEndian.Uint64(data[len(ID{}):recordSize])
		j.found = append(j.found, entry{ID(data[:len(ID{})]), int64(until)}) //nolint:gosec // it was an int64
	}
	return true, nil
}

// write begins a file PATH.new.
func (j *Journal) write(entries []entry) (_ *os.File, size int64, err error) {
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return nil, 0, err
	}
	data := fmt.Appendf(nil, "%s %s %d\n", magic, j.bootID, j.floor)
	for _, e := range entries {
		data = e.append(data)
	}
	if _, err := f.Write(data); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, int64(len(data)), nil
}

func (e entry) append(to []byte) []byte {
	return binary.BigEndian.AppendUint64(append(to, e.id[:]...), uint64(e.until)) //nolint:gosec // and back in load
}

// append writes a token down. After an error it is not, or may not be.
func (j *Journal) append(e entry, now int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return os.ErrClosed
	}
	if now-j.begun > j.window {
		if err := j.turnLocked(now); err != nil {
			return err
		}
	}
	// What a write that failed has left is written over.
	record := e.append(nil)
	if _, err := j.file.WriteAt(record, j.size); err != nil {
		return err
	}
	j.size += int64(len(record))
	return nil
}

// turnLocked begins a new file. If it fails half-way the next call goes on from there, and the present file keeps being written
// to, whichever name it has.
func (j *Journal) turnLocked(now int64) error {
	f, size, err := j.write(nil)
	if err != nil {
		return err
	}
	if err := os.Rename(j.path, j.path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, f.Close())
	}
	if err := os.Rename(f.Name(), j.path); err != nil {
		return errors.Join(err, f.Close())
	}
	err = j.file.Close()
	j.file, j.size, j.begun = f, size, now
	return err
}

// Close closes the file. What it has stays. A second call does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
