package geo

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/waylume/waylume/registry"
)

// MaxSize is how large a file may be, in bytes: twice the largest database of places that is sold.
const MaxSize = 1 << 30

// Database is a file that says where addresses are. Its methods may be called from any goroutine, and wait for each other.
type Database struct {
	path string

	mu     sync.Mutex // guards what follows
	reader *maxminddb.Reader
	// file is what reader was made of; refused is one that could not be used, for the reason why.
	file    fs.FileInfo
	refused fs.FileInfo
	why     error
	closed  bool
}

// Open opens a database. Errors match [ErrNotDatabase], [ErrForeign], [ErrTooLarge], or what the system says.
func Open(path string) (*Database, error) {
	d := &Database{path: path}
	file, err := os.Stat(path)
	if err == nil {
		d.reader, err = open(path, file)
	}
	if err != nil {
		return nil, fmt.Errorf("geo: open %s: %w", path, err)
	}
	d.file = file
	return d, nil
}

// Info is what a database says of itself.
type Info struct {
	// Type is such as "GeoLite2-City".
	Type string
	// Built is when it was made.
	Built time.Time
}

// Info is of the database that answered last.
func (d *Database) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return Info{}
	}
	return Info{Type: d.reader.Metadata.DatabaseType, Built: d.reader.Metadata.BuildTime()}
}

// Lookup returns where an address is, as far as it is known, and whether anything is. The region is the ISO 3166-2 code of the largest
// subdivision: "DE-HE". Errors: [ErrFormer], beside which there may be an answer; [ErrNotDatabase], [ErrForeign], [ErrClosed]; and
// [registry.ErrInvalid] for no address.
func (d *Database) Lookup(addr netip.Addr) (registry.Location, bool, error) {
	if !addr.IsValid() {
		return registry.Location{}, false, fmt.Errorf("geo: %w: there is no address to look up", registry.ErrInvalid)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return registry.Location{}, false, fmt.Errorf("geo: look up in %s: %w", d.path, ErrClosed)
	}
	replaced := d.followLocked()
	l, ok, err := find(d.reader, addr.Unmap().WithZone(""))
	if replaced != nil {
		replaced = fmt.Errorf("%w: %w", ErrFormer, replaced)
	}
	if err := errors.Join(err, replaced); err != nil {
		return l, ok, fmt.Errorf("geo: look up in %s: %w", d.path, err)
	}
	return l, ok, nil
}

// followLocked opens the file anew if it is another one. It fails as long as that one cannot be used.
func (d *Database) followLocked() error {
	file, err := os.Stat(d.path)
	switch {
	case err != nil:
		return err
	case same(file, d.file):
		return nil
	case d.refused != nil && same(file, d.refused):
		return d.why
	}
	reader, err := open(d.path, file)
	if err != nil {
		d.refused, d.why = file, err
		return err
	}
	former := d.reader
	d.reader, d.file, d.refused, d.why = reader, file, nil, nil
	return former.Close()
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Close closes the database. Later questions fail.
func (d *Database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.reader.Close()
}

// open maps a file, if it is a database of places.
func open(path string, file fs.FileInfo) (reader *maxminddb.Reader, err error) {
	if !file.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is not a regular file", ErrNotDatabase)
	}
	if file.Size() > MaxSize {
		return nil, fmt.Errorf("%w: it has %d bytes, and the bound is %d", ErrTooLarge, file.Size(), MaxSize)
	}
	err = guarded(func() error {
		var err error
		if reader, err = maxminddb.Open(path); err != nil {
			if _, ofSystem := errors.AsType[syscall.Errno](err); ofSystem {
				return err
			}
			return fmt.Errorf("%w: %w", ErrNotDatabase, err)
		}
		if kind := reader.Metadata.DatabaseType; !ofPlaces(kind) {
			return errors.Join(fmt.Errorf("%w: it is of the type %.80q", ErrForeign, kind), reader.Close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reader, nil
}

// ofPlaces knows a type by the words that MaxMind's and others' have: GeoLite2-City, GeoIP2-Enterprise, DBIP-Country-Lite.
func ofPlaces(kind string) bool {
	kind = strings.ToLower(kind)
	for _, word := range []string{"city", "country", "enterprise", "location"} {
		if strings.Contains(kind, word) {
			return true
		}
	}
	return false
}
