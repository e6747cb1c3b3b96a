package ipam

import "encoding/binary"

// decoder reads what a snapshot is made of. After an error it keeps to it and returns zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err, d.b = corrupt(format, args...), nil
	}
}

func (d *decoder) number(what string, most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.fail("bad %s", what)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) signed(what string) int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad %s", what)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// take returns the next n bytes, or nil.
func (d *decoder) take(what string, n int) []byte {
	if n > len(d.b) {
		d.fail("it ends in the middle of %s", what)
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

// octet returns the next byte, or 0.
func (d *decoder) octet(what string) int {
	if b := d.take(what, 1); b != nil {
		return int(b[0])
	}
	return 0
}
