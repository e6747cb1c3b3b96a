package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/durable"
)

// Create writes a key into a new file of mode 0600, in a directory that is there. It fails with fs.ErrExist where a file is.
// After an error of the disk the file may be there all the same, and is then whole: no key is removed that may be all there is
// of it. The error is an [*Error].
func Create(path string, key wgtypes.Key) error {
	if err := write(path, key, durable.Link); err != nil {
		return &Error{"create", path, err}
	}
	return nil
}

// Replace writes a key in place of what is in a file, or into a new one: at every moment the file is what it was or what it
// shall be. After an error it is the one or the other. Through a symbolic link, what it leads to is replaced. The error is an
// [*Error].
func Replace(path string, key wgtypes.Key) error {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		target, err = path, nil
	}
	if err == nil {
		err = write(target, key, os.Rename)
	}
	if err != nil {
		return &Error{"replace", path, err}
	}
	return nil
}

// write puts a whole file on the disk, has name give it its name, and puts that on the disk.
func write(path string, key wgtypes.Key, name func(from, to string) error) (err error) {
	if key == (wgtypes.Key{}) {
		return fmt.Errorf("%w: the key is all zeros", ErrNoKey)
	}
	dir := filepath.Dir(path)
	if err := durable.Sweep(path); err != nil { // no key lies about longer than it must
		return err
	}
	file, err := os.CreateTemp(dir, durable.Prefix(path)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if left := os.Remove(file.Name()); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
	}()
	_, err = file.WriteString(key.String() + "\n")
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := name(file.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
