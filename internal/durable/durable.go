// Package durable gives files names so that after a kill or a power cut there is a whole file of that name, or none.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Link gives a file another name if nothing has that, and then takes its own away where a file can have but one. An error that
// matches fs.ErrExist says that something has the name.
func Link(file, name string) error {
	err := os.Link(file, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// FAT and some file systems of networks have no links. Then two who make one file at the same moment are not kept apart.
	switch _, lacking := os.Lstat(name); {
	case lacking == nil:
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	case !errors.Is(lacking, fs.ErrNotExist):
		return lacking
	}
	return os.Rename(file, name)
}

// Prefix is what the names of files begin with that are to take a name when they are whole. They are in the same directory.
func Prefix(name string) string { return "." + filepath.Base(name) + ".new-" }

// Sweep removes what processes have left that were killed before a file took its name. Whoever calls it has seen to it that nobody
// is making one.
func Sweep(name string) error {
	dir := filepath.Dir(name)
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), Prefix(name)) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// SyncDir puts the names of a directory on the disk. Windows does so by itself.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
