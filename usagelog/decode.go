package usagelog

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// frame is one frame as it was read, which holds until the next is. No id is in it twice.
type frame struct {
	head
	defines []defining
	entries []entry
	// end is where in the segment the frame ends, and check the sum in its header. whole: nothing in the segment is damaged up to
	// there.
	end   int64
	check uint32
	whole bool
}

// size is how many entries the frame has.
func (f *frame) size() int { return len(f.defines) + len(f.entries) }

// scanner finds the frames of a segment.
type scanner struct {
	r *bufio.Reader
	// offset is where r is in the segment, and bad where what cannot be read began; -1: nothing such.
	offset, bad int64
	frame       frame
	damage      []Damage
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, headerSize+maxPayload), bad: -1}
}

// header reads the header of the segment. One that is damaged is damage like any other.
func (s *scanner) header() error {
	data, err := s.r.Peek(headerSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(data) < headerSize || string(data[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(data[12:]) != sum(data[:12]) {
		return nil
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != version {
		return fmt.Errorf("%w: it has version %d, and this program knows none but %d", ErrNewer, v, version)
	}
	return s.skip(headerSize)
}

// next reads the next frame that is sound, past whatever is not. At the end of the segment, the error is io.EOF.
func (s *scanner) next() (*frame, error) {
	for {
		payload, err := s.peek()
		if err != nil {
			return nil, err
		}
		if payload != nil && s.frame.decode(payload) {
			s.damaged(false)
			err := s.skip(headerSize + len(payload))
			s.frame.end, s.frame.whole = s.offset, len(s.damage) == 0
			return &s.frame, err
		}
		if err := s.search(); err != nil {
			return nil, err
		}
	}
}

// peek returns the payload of the frame that begins here, or nil if none does.
func (s *scanner) peek() ([]byte, error) {
	data, err := s.r.Peek(headerSize)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case len(data) == 0:
		if s.offset == 0 {
			s.bad = 0 // not even a header
		}
		s.damaged(true)
		return nil, io.EOF
	case len(data) < headerSize || string(data[:4]) != frameMagic ||
		binary.LittleEndian.Uint32(data[12:]) != sum(data[:12]):
		return nil, nil
	}
	length, want := binary.LittleEndian.Uint32(data[4:]), binary.LittleEndian.Uint32(data[8:])
	if length > maxPayload {
		return nil, nil
	}
	data, err = s.r.Peek(headerSize + int(length))
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	case sum(data[headerSize:]) != want:
		return nil, nil
	}
	s.frame.check = binary.LittleEndian.Uint32(data[12:])
	return data[headerSize:], nil
}

// search goes on to where a frame may begin next.
func (s *scanner) search() error {
	if s.bad < 0 {
		s.bad = s.offset
	}
	if err := s.skip(1); err != nil {
		return err
	}
	data, err := s.r.Peek(max(s.r.Buffered(), 1))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if i := bytes.IndexByte(data, frameMagic[0]); i >= 0 {
		return s.skip(i)
	}
	return s.skip(len(data))
}

func (s *scanner) skip(n int) error {
	n, err := s.r.Discard(n)
	s.offset += int64(n)
	return err
}

// damaged notes that what could not be read ends here.
func (s *scanner) damaged(end bool) {
	if s.bad >= 0 {
		s.damage = append(s.damage, Damage{Offset: s.bad, Length: s.offset - s.bad, End: end})
		s.bad = -1
	}
}

// decode reads a payload, and reports whether it is one.
func (f *frame) decode(payload []byte) bool {
	d := decoder{rest: payload}
	f.defines, f.entries = f.defines[:0], f.entries[:0]
	f.flags = d.byte()
	f.at = int64(d.uint64())
	f.known = d.uvarint()
	if d.failed || f.flags&^flagsKnown != 0 || f.at < 0 || f.at > maxTime {
		return false
	}
	next := uint64(0)
	for len(d.rest) > 0 {
		step := d.uvarint()
		if step>>1 >= maxIDs-next {
			return false
		}
		id := next + step>>1
		next = id + 1
		if step&1 == 0 {
			f.entries = append(f.entries, entry{id, d.counters()})
			continue
		}
		s := Subject{Kind: Kind(d.byte()), Sequence: d.uvarint(), Name: string(d.take(int(d.byte())))}
		if s.validate() != nil {
			return false
		}
		f.defines = append(f.defines, defining{entry{id, d.counters()}, s})
	}
	return !d.failed
}

// decoder reads from the front of a payload; past its end, it has failed, and reads zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.failed, d.rest = true, nil
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 {
		v := uint64(d.rest[0])
		d.rest = d.rest[1:]
		return v
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) counters() Counters {
	return Counters{Download: d.uvarint(), Upload: d.uvarint()}
}
