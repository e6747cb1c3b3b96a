// Package durable names files so that a power cut leaves the name or not, and never half of it.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
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
