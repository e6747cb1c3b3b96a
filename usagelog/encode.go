package usagelog

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A segment is a header and frames. Numbers of fixed width are little-endian; sums are CRC-32C.
//
//	header   8 bytes "WLUSAGE\n", 4 version, 4 sum of what precedes
//	frame    4 bytes magic, 4 length of the payload, 4 sum of the payload, 4 sum of what precedes; then it
//	payload: 1 byte flags, 8 time in nanoseconds since 1970, uvarint known, entries to the end
//	entry    uvarint: twice the step from the entry before to its id (from -1 for the first, and less 1); odd if it defines
//	  which defines: 1 byte kind, uvarint sequence, 1 byte length and name, uvarint download, uvarint upload
//	  which does not: uvarint download, uvarint upload, both less what the definition of the id has
//
// An id stands for a subject in its segment. Entries ascend by id. Known is the highest sequence that had been seen when all
// subjects were read last, or unknown. The magic holds bytes that no UTF-8 text has, so that no name looks like a frame.
const (
	segmentMagic = "WLUSAGE\n"
	version      = 1
	frameMagic   = "\xffWU\xfe"
	headerSize   = 16

	// maxPayload bounds what a reader holds. The writer ends a frame at the first entry past fullPayload.
	maxPayload  = 128 << 10
	fullPayload = 64 << 10
	// maxIDs bounds the definitions of a segment; the next segment begins with ids of its own.
	maxIDs = 1 << 20

	// unknown is the value of known before all subjects were read for the first time.
	unknown = math.MaxUint64
)

// Flags of a frame.
const (
	// flagBase: the frame repeats what was known when the segment began.
	flagBase = 1 << iota
	// flagAll: the Append had the readings of all subjects, or of a base: its time is that of such an Append.
	flagAll
	// flagLast: the frame is the last of its Append, or of the base.
	flagLast

	flagsKnown = flagBase | flagAll | flagLast
)

// head is what the frames of one Append, or of a base, have in common.
type head struct {
	flags byte
	at    int64
	known uint64
}

// entry is what a frame says of one subject: its counters, above those of the definition of its id.
type entry struct {
	id       uint64
	counters Counters
}

// defining is an entry that defines its id. Its counters are absolute.
type defining struct {
	entry
	subject Subject
}

func sum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// appendHeader appends the header of a segment.
func appendHeader(buf []byte) []byte {
	begin := len(buf)
	buf = append(buf, segmentMagic...)
	buf = binary.LittleEndian.AppendUint32(buf, version)
	return binary.LittleEndian.AppendUint32(buf, sum(buf[begin:]))
}

// packer appends the frames of one Append, or of a base, to a buffer.
type packer struct {
	buf  []byte
	head head
	// begin is where the frame that is open begins, and next the lowest id that may follow in it.
	begin int
	next  uint64
}

// open begins a frame.
func (p *packer) open() {
	p.begin, p.next = len(p.buf), 0
	p.buf = append(p.buf, make([]byte, headerSize)...)
	p.buf = append(p.buf, p.head.flags)
	p.buf = binary.LittleEndian.AppendUint64(p.buf, uint64(p.head.at))
	p.buf = binary.AppendUvarint(p.buf, p.head.known)
}

// seal ends the frame that is open.
func (p *packer) seal() {
	frame := p.buf[p.begin:]
	copy(frame, frameMagic)
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)-headerSize))
	binary.LittleEndian.PutUint32(frame[8:], sum(frame[headerSize:]))
	binary.LittleEndian.PutUint32(frame[12:], sum(frame[:12]))
}

// add appends an entry; ids ascend.
func (p *packer) add(e entry) {
	p.step(e.id, 0)
	p.counters(e.counters)
}

// define appends an entry that defines its id; ids ascend.
func (p *packer) define(d defining) {
	p.step(d.id, 1)
	p.buf = append(p.buf, byte(d.subject.Kind))
	p.buf = binary.AppendUvarint(p.buf, d.subject.Sequence)
	p.buf = append(p.buf, byte(len(d.subject.Name)))
	p.buf = append(p.buf, d.subject.Name...)
	p.counters(d.counters)
}

// step begins an entry, in another frame if this one is full.
func (p *packer) step(id, defines uint64) {
	if len(p.buf)-p.begin-headerSize > fullPayload {
		p.seal()
		p.open()
	}
	p.buf = binary.AppendUvarint(p.buf, (id-p.next)<<1|defines)
	p.next = id + 1
}

func (p *packer) counters(c Counters) {
	p.buf = binary.AppendUvarint(p.buf, c.Download)
	p.buf = binary.AppendUvarint(p.buf, c.Upload)
}

// finish ends the last frame, and returns the buffer.
func (p *packer) finish() []byte {
	p.buf[p.begin+headerSize] |= flagLast
	p.seal()
	return p.buf
}
