package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Head is the last line of a log at some time: as long as that is kept, the log must have it. Note it where nobody who may
// write to the log can change it.
type Head struct {
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"`
}

// String is "SEQUENCE:HASH", which [ParseHead] reads.
func (h Head) String() string { return strconv.FormatUint(h.Sequence, 10) + ":" + h.Hash }

// ParseHead reads what [Head.String] returns.
func ParseHead(text string) (Head, error) {
	number, hash, _ := strings.Cut(text, ":")
	sequence, err := strconv.ParseUint(number, 10, 64)
	if err != nil || !isHash([]byte(hash)) {
		return Head{}, fmt.Errorf("audit: %w: %q is no head: give one as SEQUENCE:HASH, as the daemon logs it", ErrInvalid, cut(text))
	}
	return Head{sequence, hash}, nil
}

const headName = "head"

// write puts the head over the one that the file has: always as many bytes, so that a kill leaves the one or the other.
func (h Head) write(file *os.File) error {
	_, err := file.WriteAt(fmt.Appendf(nil, "%020d:%s\n", h.Sequence, h.Hash), 0)
	return err
}

// readHead reads the head file of a directory; nil: there is none.
func readHead(dir string) (*Head, error) {
	text, err := os.ReadFile(filepath.Join(dir, headName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := ParseHead(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return nil, errHead
	}
	return &h, nil
}

// errHead: what is in the head file is no head.
var errHead = errors.New(`file "head" is damaged`)
