package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"
)

// minTimeout is the shortest that bbolt waits for a lock: it tries once.
const minTimeout = time.Nanosecond

// RestoreOptions are how a file is restored. The zero value is what most want.
type RestoreOptions struct {
	// AcceptOlder takes a file of which one root page is damaged, and all else is sound: see Report.OlderSound.
	AcceptOlder bool
}

// Restored is what Restore did.
type Restored struct {
	// Report is about the file that is now in place.
	Report Report
	// Aside is where the file that was there is now. It is empty if there was none.
	Aside string
}

// Restore puts a copy of a backup in place of a state that no Store has open. The backup is checked before, and the copy
// after. The file that was there is kept under another name in its directory. At every moment there is the one or the other;
// after an error it is what was there. from and to may be the same file.
func Restore(ctx context.Context, from, to string, opts RestoreOptions) (Restored, error) {
	s, err := openSound(from, opts.AcceptOlder)
	if err != nil {
		return Restored{}, explain("restore", from, err)
	}
	restored, err := restore(ctx, to, func(ctx context.Context, file io.Writer) error {
		w := &copyWriter{ctx: ctx, to: file}
		return w.cause(explain("restore", from, fenced(func() error { return writeCopy(s.db, w) })))
	})
	return restored, errors.Join(explain("restore", to, err), explain("restore", from, s.close()))
}

func restore(
	ctx context.Context, to string, write func(ctx context.Context, to io.Writer) error,
) (restored Restored, err error) {
	exists, err := regular(to)
	if err != nil {
		return Restored{}, err
	}
	if exists {
		s, err := openShared(to, minTimeout)
		if err != nil {
			return Restored{}, err
		}
		if runtime.GOOS == "windows" { // which renames nothing onto a file that is open
			err = s.close()
		} else {
			defer func() { err = errors.Join(err, s.close()) }()
		}
		if err != nil {
			return Restored{}, err
		}
	}
	err = publish(to, exists, func(temporary string) error {
		if restored.Report, err = fill(ctx, temporary, write); err != nil {
			return err
		}
		restored.Report.Path = to
		if !exists {
			return nil
		}
		if err := takeOwner(temporary, to); err != nil {
			return err
		}
		restored.Aside = fmt.Sprintf("%s.before-%s", to, time.Now().UTC().Format("20060102T150405.000Z"))
		return keepAside(to, restored.Aside)
	})
	if err != nil {
		return Restored{}, errors.Join(err, removeName(restored.Aside, to))
	}
	return restored, nil
}

// removeName removes a name of a file if it is not the last that this package knows.
func removeName(name, other string) error {
	one, err := os.Stat(name)
	if err != nil {
		return ignoreAbsent(err)
	}
	two, err := os.Stat(other)
	if err != nil || !os.SameFile(one, two) {
		return ignoreAbsent(err)
	}
	return os.Remove(name)
}

// keepAside gives a file another name besides its own.
func keepAside(path, aside string) error {
	err := os.Link(path, aside)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without links, such as FAT: a copy does as well.
	return publish(aside, false, func(temporary string) error {
		source, err := os.Open(path)
		if err != nil {
			return err
		}
		target, err := os.OpenFile(temporary, os.O_WRONLY, 0)
		if err != nil {
			return errors.Join(err, source.Close())
		}
		_, err = io.Copy(target, source)
		return errors.Join(err, target.Close(), source.Close())
	})
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
