package audit

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
)

// maxLine is more than any record takes as a line, in bytes.
const maxLine = 16 << 20

// What is wrong with a line by itself.
const (
	badForm = "is no line of an audit log"
	badHash = "is not what was written: its hash does not fit"
	tooLong = "is longer than any line of an audit log"
)

// line is one of a segment.
type line struct {
	number int
	// offset and length are where in the file it is, in bytes.
	offset, length int64
	record         Record
	// wrong is what is wrong with the line by itself; torn: it does not end, as after a kill.
	wrong string
	torn  bool
}

// scan hands the lines of a segment to each. The hashes are checked with the sealer that choose returns for the first line;
// none: they are not checked.
func scan(r io.Reader, choose func(first Record) (*sealer, error), each func(line) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var seal *sealer
	l := line{}
	for {
		text, long, err := readLine(b)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(text) == 0 {
			return nil
		}
		l = line{number: l.number + 1, offset: l.offset + l.length, length: int64(len(text)) + long}
		l.torn = text[len(text)-1] != '\n' && long == 0
		hash, body, ok := split(text)
		switch {
		case long > 0:
			l.wrong = tooLong
		case !ok || !parse(body, hash, &l.record):
			l.wrong = badForm
		}
		if l.number == 1 {
			if seal, err = choose(l.record); err != nil {
				return err
			}
		}
		if l.wrong == "" && seal != nil && !hmac.Equal([]byte(seal.seal(body)), hash) {
			l.wrong = badHash
		}
		if err := each(l); err != nil {
			return err
		}
	}
}

// readLine reads a line with its end, if it has one, and counts the bytes of one that is too long and were left out.
func readLine(b *bufio.Reader) (text []byte, long int64, err error) {
	for {
		part, err := b.ReadSlice('\n')
		if len(text)+len(part) <= maxLine {
			text = append(text, part...)
		} else {
			long += int64(len(part))
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, long, err
		}
	}
}

// split parts a line into what was hashed and the hash.
func split(text []byte) (hash, body []byte, ok bool) {
	const tail = len(hashField) + len(zeroHash) + len("\"}\n")
	at := len(text) - tail
	if at < 0 || !bytes.HasPrefix(text[at:], []byte(hashField)) || !bytes.HasSuffix(text, []byte("\"}\n")) {
		return nil, nil, false
	}
	hash = text[at+len(hashField) : len(text)-len("\"}\n")]
	if !isHash(hash) {
		return nil, nil, false
	}
	return hash, text[:at:at], true
}

// isHash reports whether a text is a hash as we write it; upper-case digits are not.
func isHash(text []byte) bool {
	if len(text) != len(zeroHash) || bytes.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.DecodeString(string(text))
	return err == nil
}

// parse reads what was hashed into a record.
func parse(body, hash []byte, r *Record) bool {
	if err := json.Unmarshal(append(body, '}'), r); err != nil {
		*r = Record{}
		return false
	}
	r.Hash = string(hash)
	return true
}
