package membership

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/durable"
	"github.com/waylume/waylume/registry"
)

// ErrState means that the state file is damaged or another's. The error says what to do.
var ErrState = errors.New("membership: state file cannot be used")

const (
	fileFormat  = "waylume-membership"
	fileVersion = 1
	maxFile     = 64 << 10 // bytes; what is written is a tenth of it at most
)

// file is what outlives the process.
type file struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// Server is what the node was when it last registered.
	Server registry.ID `json:"server,omitempty"`
	// Released is the last release that was carried out.
	Released int64 `json:"released"`
	Usage    usage `json:"usage"`
}

// usage is how far the reports have come.
type usage struct {
	// Sequence is that of the last report which was taken, and After the place where it ended.
	Sequence int64  `json:"sequence"`
	After    string `json:"after"`
	// UpTo is where the report ends that is under way, with the next sequence; empty: none is.
	UpTo string `json:"up_to,omitempty"`
	// Shift is what the times of the report under way are put forward by, in nanoseconds, to be those of the registry's clock.
	Shift time.Duration `json:"shift,omitempty"`
	// Skip says that what follows After, up to what is known when it is looked at, may have been reported.
	Skip bool `json:"skip,omitempty"`
}

// store keeps a file. What was written last can differ from what is known, when the disk is full.
type store struct {
	path string

	mu     sync.Mutex
	loaded bool
	now    file
	disk   file
}

// load reads the file once. One that is not there is empty.
func (s *store) load() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded {
		return nil
	}
	f, err := readFile(s.path)
	if err != nil {
		return err
	}
	if err := durable.Sweep(s.path); err != nil {
		return fmt.Errorf("membership: clear away unfinished state files: %w", err)
	}
	s.now, s.disk, s.loaded = f, f, true
	return nil
}

func readFile(path string) (file, error) {
	f := file{Format: fileFormat, Version: fileVersion}
	opened, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		// A directory that is not there would only be noticed when the first thing is to be kept.
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return f, fmt.Errorf("membership: the state file's directory has to be there: %w", err)
		}
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("membership: open the state file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(opened, maxFile+1))
	if err := errors.Join(err, opened.Close()); err != nil {
		return f, fmt.Errorf("membership: read the state file: %w", err)
	}
	f = file{}
	if err := f.decode(data); err != nil {
		return f, fmt.Errorf("%w: %s: %w; if it is not another program's, move it away: the node then registers under its name and "+
			"is the same server, releases that wait come again, and usage that was not reported yet is not reported any more", ErrState, path, err)
	}
	return f, nil
}

func (f *file) decode(data []byte) error {
	if len(data) > maxFile {
		return fmt.Errorf("it has more than %d bytes", maxFile)
	}
	if err := json.Unmarshal(data, f); err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	switch u := f.Usage; {
	case f.Format != fileFormat:
		return fmt.Errorf("its format is %q, not %q", f.Format, fileFormat)
	case f.Version != fileVersion:
		return fmt.Errorf("its version is %d, and this program knows %d only", f.Version, fileVersion)
	case f.Released < 0, u.Sequence < 0, len(u.After) > MaxCursor, len(u.UpTo) > MaxCursor:
		return errors.New("it has numbers or places that this program never writes")
	}
	return nil
}

// known is what is true, whether it is on the disk or not; kept is what is on the disk.
func (s *store) known() file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *store) kept() file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk
}

// update changes what is known and puts it on the disk. After an error it is known, and not on the disk for certain.
func (s *store) update(change func(*file)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
	return s.flushLocked()
}

// flushLocked puts on the disk what is known, and was not put there by the update that made it known.
func (s *store) flushLocked() error {
	if s.now == s.disk {
		return nil
	}
	if err := writeFile(s.path, s.now); err != nil {
		return fmt.Errorf("membership: write the state file: %w", err)
	}
	s.disk = s.now
	return nil
}

func writeFile(path string, f file) (err error) {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	temporary, err := os.CreateTemp(dir, durable.Prefix(path)+"*")
	if err != nil {
		return err
	}
	_, err = io.Copy(temporary, bytes.NewReader(append(data, '\n')))
	if err == nil {
		err = temporary.Sync()
	}
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return durable.SyncDir(dir)
}
