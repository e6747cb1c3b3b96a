package usagelog

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Position is a place in the order in which readings were appended, whatever their times: how far somebody has read with
// [Log.After]. The zero Position is the beginning. As text it can be kept, and holds for as long as the log's directory does.
type Position struct {
	// segment is the index of the segment of the frame that was read last, and offset where that ends. Of its entries, left were
	// not read.
	segment uint64
	offset  int64
	left    int
	// sum is that of all frames that were read to get there, from the last base that is whole.
	sum uint32
	// base: the frame is of a base, and not its end.
	base bool
	// doubt: what the log has up to here is not what was read. Nothing counts before all subjects were read anew.
	doubt bool
}

// Flags of a position as text.
const (
	positionBase = 1 << iota
	positionDoubt
)

// IsZero reports whether the position is the beginning.
func (p Position) IsZero() bool { return p == Position{} }

// String is the position as text; the zero Position is "".
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	flags := 0
	if p.base {
		flags |= positionBase
	}
	if p.doubt {
		flags |= positionDoubt
	}
	return fmt.Sprintf("1.%d.%d.%d.%08x.%d", p.segment, p.offset, p.left, p.sum, flags)
}

// MarshalText writes the position as String does.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote. Errors match [ErrInvalid].
func (p *Position) UnmarshalText(text []byte) error {
	read, err := parsePosition(string(text))
	if err != nil || read.String() != string(text) {
		return fmt.Errorf("usagelog: %w: %q is not a position in a log", ErrInvalid, text)
	}
	*p = read
	return nil
}

// parsePosition reads a position, but does not see to it that it is written as String does.
func parsePosition(text string) (p Position, err error) {
	if text == "" {
		return p, nil
	}
	fields := strings.Split(text, ".")
	if len(fields) != 6 {
		return p, ErrInvalid
	}
	numbers := make([]uint64, len(fields))
	for i, field := range fields {
		base, bits := 10, 63
		switch i {
		case 3:
			bits = 31
		case 4:
			base, bits = 16, 32
		}
		if numbers[i], err = strconv.ParseUint(field, base, bits); err != nil {
			return p, err
		}
	}
	flags := numbers[5]
	return Position{
		segment: numbers[1], offset: int64(numbers[2]), left: int(numbers[3]), sum: uint32(numbers[4]),
		base: flags&positionBase != 0, doubt: flags&positionDoubt != 0,
	}, nil
}

// compare orders positions as they were appended. The beginning is before all.
func (p Position) compare(q Position) int {
	switch {
	case p.segment != q.segment:
		return cmp.Compare(p.segment, q.segment)
	case p.offset != q.offset:
		return cmp.Compare(p.offset, q.offset)
	default:
		return cmp.Compare(q.left, p.left)
	}
}

// reached reports whether a frame of a segment lies at the position, or before it.
func (p Position) reached(s segment, f *frame) bool {
	return s.index < p.segment || s.index == p.segment && f.end <= p.offset
}

// is reports whether a frame is the one that the position names, by its place.
func (p Position) is(s segment, f *frame) bool { return s.index == p.segment && f.end == p.offset }

// chain goes on with the sum of frames.
func chain(sum uint32, f *frame) uint32 {
	data := binary.LittleEndian.AppendUint32(nil, f.check)
	data = binary.LittleEndian.AppendUint64(data, uint64(f.end))
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), data)
}
