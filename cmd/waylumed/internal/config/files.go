package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

// maxSecretFile is the most that is read of a secret's file, in bytes.
const maxSecretFile = 64 << 10

// private checks that nobody but its owner may use a file. The modes of Windows say nothing about that.
func private(path string, mode fs.FileMode) error {
	if runtime.GOOS == "windows" || mode.Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("others than its owner may use it, its mode is %04o: if nobody has read it, run: chmod 600 %s", mode.Perm(),
		path)
}

// readFile reads a file of at most maxFile bytes whose mode does not matter.
func readFile(path string) (data []byte, err error) {
	data, _, err = readWithMode(path, maxFile)
	return data, err
}

// readWithMode reads a regular file, or what a link leads to, that has at most so many bytes.
func readWithMode(path string, most int64) (data []byte, mode fs.FileMode, err error) {
	if info, err := os.Stat(path); err != nil {
		return nil, 0, reason(err)
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, 0, errors.New("is no file: name one")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, reason(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, reason(err)
	}
	data, err = io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, 0, reason(err)
	}
	if int64(len(data)) > most {
		return nil, 0, fmt.Errorf("is longer than %d bytes: it cannot be the file that is meant", most)
	}
	return data, info.Mode(), nil
}

// reason is an error of the system without the path, which a caller says, and with what to do.
func reason(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("is not there: make it, or mend its name")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read by this user: give it to them with chown")
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// secretIn reads a secret that has a file of its own, without the blank space around it.
func secretIn(path string) (string, error) {
	data, mode, err := readWithMode(path, maxSecretFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if err := private(path, mode); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || text == words.None {
		return "", fmt.Errorf("%s: is empty: put the secret there, or leave the file's name out", path)
	}
	return text, nil
}
