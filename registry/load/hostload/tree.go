package hostload

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
)

// tree is a file system with proc and sys.
type tree struct{ fs.FS }

// Bounds of what is read, which no kernel comes near to.
const (
	maxLine = 1 << 20
	maxFile = 16 << 20
)

// lines calls f with each line of a file until it returns false. The line is f's until it returns.
func (t tree) lines(name string, f func(line []byte) bool) (err error) {
	file, err := t.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	scanner := bufio.NewScanner(io.LimitReader(file, maxFile))
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		if !f(scanner.Bytes()) {
			return nil
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// first is the first line of a file, without white space around it.
func (t tree) first(name string) (string, error) {
	var line string
	err := t.lines(name, func(l []byte) bool {
		line = string(bytes.TrimSpace(l))
		return false
	})
	return line, err
}

// number is what a file that holds one number says.
func (t tree) number(name string) (uint64, error) {
	line, err := t.first(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(line, 10, 64)
	if err != nil {
		return 0, malformed(name, err)
	}
	return n, nil
}

// named are the numbers of a file with lines of a name and a number, for those of some names. One that is missing is an error.
func (t tree) named(name string, names ...string) ([]uint64, error) {
	values, missing := make([]uint64, len(names)), len(names)
	found := make([]bool, len(names))
	var failed error
	err := t.lines(name, func(line []byte) bool {
		key, rest, ok := bytes.Cut(line, []byte(" "))
		if !ok {
			return true
		}
		for i, n := range names {
			if string(key) != n || found[i] {
				continue
			}
			number, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
			if values[i], failed = strconv.ParseUint(string(number), 10, 64); failed != nil {
				return false
			}
			found[i] = true
			missing--
		}
		return missing > 0
	})
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		return nil, malformed(name, failed)
	case missing > 0:
		return nil, malformed(name, fmt.Errorf("some of %q are missing", names))
	}
	return values, nil
}

func malformed(name string, err error) error {
	return fmt.Errorf("%s is not what Linux writes there: %w", name, err)
}
