package control

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	protocolVersion = 1
	verbBackup      = "backup"
	verbStatus      = "status"
	verbRotateKey   = "rotate-key"
	// An earlier node refuses these, where it would pass over a field of a request that it knows.
	verbOverlapKey = "rotate-key-with-overlap"
	verbEndOverlap = "end-key-overlap"

	// maxLine is the longest line of JSON, in bytes, with its end.
	maxLine = 4 << 10
	// maxPiece is the longest piece of a state, in bytes.
	maxPiece = 64 << 10
)

func verbs() []string {
	return []string{verbBackup, verbStatus, verbRotateKey, verbOverlapKey, verbEndOverlap}
}

// request is what is asked.
type request struct {
	Version int    `json:"version"`
	Verb    string `json:"verb"`
	// Overlap is of verbOverlapKey, as Go writes durations.
	Overlap string `json:"overlap,omitempty"`
}

// overlap is for how long a node shall know its former key.
func (r request) overlap() (time.Duration, error) {
	if r.Verb != verbOverlapKey {
		return 0, nil
	}
	d, err := time.ParseDuration(r.Overlap)
	if err != nil || d <= 0 { // 0 would cut everybody off
		return 0, fmt.Errorf("%w: %.32q is no overlap", errMessage, r.Overlap)
	}
	return d, nil
}

// answer says how it went.
type answer struct {
	Version int    `json:"version"`
	Error   string `json:"error,omitempty"`
	// Keys answers what is about keys.
	Keys *Keys `json:"keys,omitempty"`
}

// errMessage is a line that is no message of this protocol.
var errMessage = errors.New("message is malformed")

// parseRequest reads a line that a client sent.
func parseRequest(line []byte) (request, error) {
	var r request
	if err := parseLine(line, &r); err != nil {
		return request{}, err
	}
	switch {
	case r.Version != protocolVersion:
		return request{}, fmt.Errorf("this node speaks version %d of the protocol, and was asked in version %d: use its own waylumed",
			protocolVersion, r.Version)
	case !slices.Contains(verbs(), r.Verb):
		return request{}, fmt.Errorf("%w: there is no verb %.32q", errMessage, r.Verb)
	}
	if _, err := r.overlap(); err != nil {
		return request{}, err
	}
	return r, nil
}

// parseAnswer reads a line that a server sent; the error is the one that it tells of.
func parseAnswer(line []byte) (answer, error) {
	var a answer
	if err := parseLine(line, &a); err != nil {
		return answer{}, err
	}
	switch {
	case a.Error != "":
		return answer{}, errors.New(a.Error)
	case a.Version != protocolVersion:
		return answer{}, fmt.Errorf("the node speaks version %d of the protocol, this program version %d", a.Version, protocolVersion)
	}
	return a, nil
}

// parseLine reads one value of JSON and nothing after it. Fields that are not known are those of a later version.
func parseLine(line []byte, into any) error {
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	return nil
}

// readLine reads a line of at most maxLine bytes from a reader that has as large a buffer. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: it is longer than %d bytes", errMessage, maxLine)
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line, []byte("\n")), nil
}

func writeLine(w io.Writer, message any) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// pieceWriter writes what it is given in pieces.
type pieceWriter struct{ to io.Writer }

func (w pieceWriter) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		n := min(len(b), maxPiece)
		piece := binary.BigEndian.AppendUint32(make([]byte, 0, 4+n), uint32(n))
		if _, err := w.to.Write(append(piece, b[:n]...)); err != nil {
			return written, err
		}
		written, b = written+n, b[n:]
	}
	return written, nil
}

// end writes that there are no more pieces.
func (w pieceWriter) end() error {
	_, err := w.to.Write(make([]byte, 4))
	return err
}

// readPieces reads pieces to their end.
func readPieces(from io.Reader, to io.Writer) error {
	var head [4]byte
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return unexpected(err)
		}
		n := binary.BigEndian.Uint32(head[:])
		switch {
		case n == 0:
			return nil
		case n > maxPiece:
			return fmt.Errorf("%w: a piece of %d bytes", errMessage, n)
		}
		if _, err := io.CopyN(to, from, int64(n)); err != nil {
			return unexpected(err)
		}
	}
}

// unexpected is an error for what ended too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
