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

// Remove removes a file that has the private key of a public one, or none, whoever may use it; through a symbolic link, the link
// too. What a process that was killed while it wrote the file has left goes with it. One that is not there is no error, and one
// that has another key ([ErrOtherKey]), or is no file, stays. The error is an [*Error].
func Remove(path string, public wgtypes.Key) error {
	if err := remove(path, public); err != nil {
		return &Error{"remove", path, err}
	}
	return nil
}

func remove(path string, public wgtypes.Key) error {
	names := []string{path}
	switch target, err := filepath.EvalSymlinks(path); {
	case err == nil && target != filepath.Clean(path):
		names = []string{target, path} // a link that leads nowhere is better than a key that nothing leads to
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	key, err := read(path, func(string, fs.FileMode) error { return nil })
	switch {
	case err == nil && key.PublicKey() != public:
		return fmt.Errorf("%w, that of %s", ErrOtherKey, key.PublicKey())
	case err != nil && !errors.Is(err, ErrNoKey) && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, name := range names {
		if err := removeName(name); err != nil {
			return err
		}
	}
	return nil
}

// removeName removes one name, if it is there, and puts that on the disk.
func removeName(name string) error {
	err := durable.Sweep(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nor is there a directory
	}
	if err == nil {
		err = os.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(name))
}
