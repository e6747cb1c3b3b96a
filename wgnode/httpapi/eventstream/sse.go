package eventstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxMessage bounds what a server may have a client hold, in bytes.
const maxMessage = 1 << 20

var errLarge = fmt.Errorf("a message has more than %d bytes", maxMessage)

// message is one of a stream's.
type message struct {
	id    string // of this message or an earlier one
	event string // empty: "message"
	data  string
}

// parser reads a stream as WHATWG HTML, section 9.2.6, has it.
type parser struct {
	r       *bufio.Reader
	started bool
	afterCR bool // the line before ended with CR: a LF that follows belongs to it

	lastID string        // as of the last empty line
	retry  time.Duration // 0: the stream has said nothing
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReader(r)} }

// next returns the next message that has data. What a stream ends in the middle of is not one.
func (p *parser) next() (message, error) {
	var event string
	var data []byte
	var hasData bool
	id, size := p.lastID, 0
	for {
		line, err := p.line()
		if err != nil {
			return message{}, err
		}
		if size += len(line); size > maxMessage {
			return message{}, errLarge
		}
		if line == "" {
			p.lastID, size = id, 0
			if hasData {
				return message{id: id, event: event, data: string(data[:len(data)-1])}, nil
			}
			event = ""
			continue
		}
		name, value, _ := strings.Cut(line, ":") // a comment has no name
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "data":
			data, hasData = append(append(data, value...), '\n'), true
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "retry":
			p.setRetry(value)
		}
	}
}

// setRetry takes ASCII digits only.
func (p *parser) setRetry(value string) {
	ms, err := strconv.ParseUint(value, 10, 31)
	if errors.Is(err, strconv.ErrRange) {
		ms = 1<<31 - 1
	} else if err != nil {
		return
	}
	p.retry = time.Duration(ms) * time.Millisecond
}

// line returns the next line without its end, which is CR, LF or both. It does not wait for what may follow a CR.
func (p *parser) line() (string, error) {
	if !p.started {
		p.started = true
		if first, err := p.r.Peek(1); err == nil && first[0] == '\xef' {
			if mark, err := p.r.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
				_, _ = p.r.Discard(3) // they are there
			}
		}
	}
	var line []byte
	for {
		b, err := p.r.ReadByte()
		if err != nil {
			return "", err
		}
		afterCR := p.afterCR
		p.afterCR = false
		switch {
		case b == '\n' && afterCR && len(line) == 0:
			continue
		case b == '\r':
			p.afterCR = true
			return string(line), nil
		case b == '\n':
			return string(line), nil
		case len(line) >= maxMessage:
			return "", errLarge
		}
		line = append(line, b)
	}
}
