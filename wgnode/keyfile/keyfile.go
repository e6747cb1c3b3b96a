package keyfile

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Conditions that a caller may want to tell apart with [errors.Is]. A file that is not there matches fs.ErrNotExist.
var (
	// ErrExposed: others than the file's owner may read or change it.
	ErrExposed = errors.New("others than its owner may use it")
	// ErrNoKey: what is in the file is not a private key.
	ErrNoKey = errors.New("it holds no private key")
	// ErrOtherKey: the file has another key than the one that was to be removed.
	ErrOtherKey = errors.New("it holds another key")
)

// mode is the mode of a file that is written.
const mode fs.FileMode = 0o600

// maxSize is the most that is read, in bytes: a key has 44, and blank space may surround it.
const maxSize = 1 << 10

// Error says which file cannot be used, and why.
type Error struct {
	// Op is "read", "create", "replace" or "remove".
	Op   string
	Path string
	Err  error
}

// Error is one line for a person.
func (e *Error) Error() string { return fmt.Sprintf("%s key file %s: %v", e.Op, e.Path, reason(e.Err)) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// reason is a cause without the path, which Error says already.
func reason(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// Read reads the key in a file, which may be a symbolic link to one. It refuses a file that is not there (fs.ErrNotExist), that
// others may use ([ErrExposed]; Windows, where a mode says nothing of that, is not asked), and that holds anything but one key
// ([ErrNoKey]). The error is an [*Error], and has nothing of the file's contents.
func Read(path string) (wgtypes.Key, error) {
	key, err := read(path, private)
	if err != nil {
		return wgtypes.Key{}, &Error{"read", path, err}
	}
	return key, nil
}

// read reads the key in a file that may be used, if permitted says so.
func read(path string, permitted func(string, fs.FileMode) error) (_ wgtypes.Key, err error) {
	if info, err := os.Stat(path); err != nil {
		return wgtypes.Key{}, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return wgtypes.Key{}, fmt.Errorf("it is no file but %s", info.Mode())
	}
	file, err := os.Open(path)
	if err != nil {
		return wgtypes.Key{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return wgtypes.Key{}, err
	}
	if err := permitted(path, info.Mode()); err != nil {
		return wgtypes.Key{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return wgtypes.Key{}, err
	}
	return parse(text)
}

// parse reads the text of a file.
func parse(text []byte) (wgtypes.Key, error) {
	if len(text) > maxSize {
		return wgtypes.Key{}, fmt.Errorf("%w: it is longer than %d bytes", ErrNoKey, maxSize)
	}
	word := strings.TrimSpace(string(text))
	if word == "" {
		return wgtypes.Key{}, fmt.Errorf("%w: it is empty: put back the key, or delete the file if there never was one", ErrNoKey)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(word)
	if err != nil || len(b) != wgtypes.KeyLen || strings.ContainsAny(word, "\r\n") { // which the decoder passes over
		return wgtypes.Key{}, fmt.Errorf("%w: it must have one line of %d characters in base64, as 'wg genkey' writes it",
			ErrNoKey, base64.StdEncoding.EncodedLen(wgtypes.KeyLen))
	}
	key := wgtypes.Key(b)
	if key == (wgtypes.Key{}) {
		return wgtypes.Key{}, fmt.Errorf("%w: it is all zeros: make one with 'wg genkey'", ErrNoKey)
	}
	return key, nil
}
