package ipam

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"
)

// Snapshot is the state of a [Pool] at one moment: its leases, its quarantines and where its round stands. It never
// changes, may be copied, and marshals as binary, as text (base64) and as a JSON string. The zero Snapshot, which marshals
// as nothing, is of no pool.
//
// It is compact: sequential leases take a few bytes however many they are, scattered ones some 3 bytes each while they are
// few and never more than two bits for each address of the windows; addresses in quarantine take at most some 3 bytes
// each, and outlying ones 24.
type Snapshot struct{ data []byte }

// The binary form is, with numbers as in [encoding/binary.AppendUvarint]:
//
//	"WLIP", a byte with the version, the body, the CRC-32C of all that as 4 bytes, big-endian
//	body:     time taken (seconds since 1970 as a signed number, nanoseconds), count, prefixes, the books in use, IPv4 first
//	prefix:   a byte with the length of its address, the address, a byte with the prefix length
//	book:     set of leased slots, set of slots for the next round, count, batches, count, outlying leases, count,
//	          outlying addresses in quarantine
//	batch:    nanoseconds to the end of the quarantine, set of slots
//	outlying: the address; in quarantine, before it the nanoseconds to its end
//
// Slots are those that windowsOf gives the prefixes. For sets see appendSet.
const (
	snapshotMagic    = "WLIP"
	snapshotVersion  = 1
	snapshotOverhead = len(snapshotMagic) + 1 + crc32.Size
)

// IsZero reports whether s is the zero Snapshot.
func (s Snapshot) IsZero() bool { return len(s.data) == 0 }

// AppendBinary appends the binary form to b. It returns no error.
func (s Snapshot) AppendBinary(b []byte) ([]byte, error) { return append(b, s.data...), nil }

// MarshalBinary returns the binary form and no error.
func (s Snapshot) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// UnmarshalBinary takes the binary form. The error matches [ErrSnapshotCorrupt], or [ErrSnapshotForeign] for a version that
// this release does not know. What the snapshot says is only checked by [Pool.Restore].
func (s *Snapshot) UnmarshalBinary(b []byte) error {
	if len(b) > 0 {
		if err := checkEnvelope(b); err != nil {
			return fmt.Errorf("ipam: %w", err)
		}
	}
	s.data = append([]byte(nil), b...) // nil if b is empty, as in the zero Snapshot
	return nil
}

// AppendText appends the binary form as base64 (RFC 4648 section 4) to b. It returns no error.
func (s Snapshot) AppendText(b []byte) ([]byte, error) {
	return base64.StdEncoding.AppendEncode(b, s.data), nil
}

// MarshalText returns the binary form as base64 and no error.
func (s Snapshot) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText takes what MarshalText returned. Its errors are those of [Snapshot.UnmarshalBinary].
func (s *Snapshot) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("ipam: %w: %w", ErrSnapshotCorrupt, err)
	}
	return s.UnmarshalBinary(b)
}

func checkEnvelope(b []byte) error {
	if len(b) < snapshotOverhead || string(b[:len(snapshotMagic)]) != snapshotMagic {
		return corrupt("it does not begin as a snapshot does")
	}
	if v := b[len(snapshotMagic)]; v != snapshotVersion {
		return fmt.Errorf("%w: it has version %d and this release reads version %d", ErrSnapshotForeign, v, snapshotVersion)
	}
	sum := len(b) - crc32.Size
	if checksum(b[:sum]) != binary.BigEndian.Uint32(b[sum:]) {
		return corrupt("its checksum is wrong")
	}
	return nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSnapshotCorrupt}, args...)...)
}

// Snapshot returns the pool's state. It holds up other calls for as long as it takes to copy: some milliseconds for a /8
// with scattered leases, more with millions of addresses in quarantine.
func (p *Pool) Snapshot() Snapshot {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := p.clock.advance(now)
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = binary.AppendVarint(b, now.Unix())
	b = binary.AppendUvarint(b, uint64(now.Nanosecond())) // 0 to 999,999,999
	b = appendPrefixes(b, p.prefixes)
	for _, book := range p.books {
		book.expire(elapsed)
		b = book.append(b, elapsed)
	}
	return Snapshot{data: binary.BigEndian.AppendUint32(b, checksum(b))}
}

func appendPrefixes(b []byte, prefixes []netip.Prefix) []byte {
	b = binary.AppendUvarint(b, uint64(len(prefixes)))
	for _, p := range prefixes {
		addr := p.Addr().AsSlice()
		b = append(b, byte(len(addr)))
		b = append(b, addr...)
		b = append(b, byte(p.Bits())) // 0 to 128
	}
	return b
}

// append appends the book as a snapshot has it.
func (b *book) append(to []byte, elapsed time.Duration) []byte {
	to = appendSet(to, b.leased.stored())
	to = appendSet(to, b.later.stored())
	to = b.quarantine.append(to, elapsed)

	leases := b.outlying.leases()
	to = binary.AppendUvarint(to, uint64(len(leases)))
	for _, a := range leases {
		to = append(to, a.AsSlice()...)
	}
	to = binary.AppendUvarint(to, b.outlying.queue.n)
	for o := range b.outlying.queue.all() {
		to = appendRemaining(to, o.until, elapsed)
		to = append(to, o.addr.AsSlice()...)
	}
	return to
}

// append appends the batches. Their slots go as sets, since within a batch the order means nothing.
func (q *quarantine) append(to []byte, elapsed time.Duration) []byte {
	to = binary.AppendUvarint(to, uint64(len(q.batches)))
	var slots []uint32
	k := 0
	for slot := range q.slots.all() {
		if slots = append(slots, slot); uint64(len(slots)) == q.batches[k].n {
			to = appendRemaining(to, q.batches[k].until, elapsed)
			to = appendSet(to, pagesOf(slots))
			slots, k = slots[:0], k+1
		}
	}
	return to
}

func appendRemaining(to []byte, until, elapsed time.Duration) []byte {
	return binary.AppendUvarint(to, uint64(until-elapsed)) // what is over has been expired
}
