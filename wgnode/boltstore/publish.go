package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/waylume/waylume/internal/durable"
)

// publish makes a file that has its name only when it is whole and on the disk: write fills one with another name in the same
// directory, which is for its owner only. Unless it is to overwrite, it fails with fs.ErrExist where a file is. After an
// error path is as it was, and nothing else is left.
func publish(path string, overwrite bool, write func(temporary string) error) (err error) {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, durable.Prefix(path)+"*")
	if err != nil {
		return err
	}
	temporary := file.Name()
	defer func() {
		err = errors.Join(err, ignoreAbsent(os.Remove(temporary)))
	}()
	if err := file.Close(); err != nil {
		return err
	}
	if err := write(temporary); err != nil {
		return err
	}
	if err := syncFile(temporary); err != nil {
		return err
	}
	if overwrite {
		err = os.Rename(temporary, path)
	} else {
		err = durable.Link(temporary, path)
	}
	if err != nil {
		return err
	}
	if err = durable.SyncDir(dir); err != nil && !overwrite {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// sweep removes what processes have left that were killed while they made the file at path. The caller has it locked: who makes
// one to take its place has not. In a directory that the process may not read or change it leaves all.
func sweep(path string) error {
	if runtime.GOOS == "windows" { // where a file that is open keeps all its names
		return nil
	}
	err := durable.Sweep(path)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

// syncFile puts a file on the disk.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// regular says whether there is a file, and fails if something else is there.
func regular(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return true, fmt.Errorf("it is no file but %s", info.Mode())
	}
	return true, nil
}
