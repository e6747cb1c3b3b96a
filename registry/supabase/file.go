package supabase

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waylume/waylume/internal/durable"
)

// fileMode is that of the files that are written.
const fileMode fs.FileMode = 0o600

// readDocument reads the file of a credential, and returns its bytes, too. An error says which file it is; of one that is not there
// it matches fs.ErrNotExist.
func readDocument(path string) (document, []byte, error) {
	data, err := readFile(path, private)
	if err != nil {
		return document{}, nil, fileError("read", path, err)
	}
	d, err := parseDocument(data)
	if err != nil {
		return document{}, nil, fileError("read", path, err)
	}
	return d, data, nil
}

// encode is a document as its file has it.
func (d *document) encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(d, "", "  ")
	return append(data, '\n'), err
}

// readFile reads a file that may be used, if permitted says so.
func readFile(path string, permitted func(string, fs.FileMode) error) (_ []byte, err error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fmt.Errorf("%w: it is no file but %s", ErrCorrupt, info.Mode())
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := permitted(path, info.Mode()); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(file, maxKeySet+1))
}

// writeFile has a file be whole and on the disk, in place of what it was: at every moment it is the one or the other.
func writeFile(path string, data []byte) error {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		target, err = path, nil
	}
	if err == nil {
		err = replaceFile(target, data, os.Rename)
	}
	if err != nil {
		return fileError("write", path, err)
	}
	return nil
}

func replaceFile(path string, data []byte, name func(from, to string) error) (err error) {
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
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(fileMode), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := name(file.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// fileError says which file cannot be used, once.
func fileError(op, path string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	return fmt.Errorf("%s %s: %w", op, path, err)
}
