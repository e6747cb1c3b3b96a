package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The encoder appends to one buffer. Attributes are those of include/net/netlink.h: a length with its header, a type, and
// padding to four bytes.

const nested = unix.NLA_F_NESTED

func pad(b []byte) []byte {
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func attr(b []byte, kind uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return pad(append(b, data...))
}

func attrString(b []byte, kind uint16, s string) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(s)+1))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return pad(append(append(b, s...), 0))
}

func attr32(b []byte, kind uint16, v uint32) []byte {
	var data [4]byte
	binary.BigEndian.PutUint32(data[:], v)
	return attr(b, kind, data[:])
}

func attr64(b []byte, kind uint16, v uint64) []byte {
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], v)
	return attr(b, kind, data[:])
}

// open begins an attribute that holds others, and shut ends it.
func open(b []byte, kind uint16) (out []byte, at int) {
	at = len(b)
	b = binary.NativeEndian.AppendUint16(b, 0)
	return binary.NativeEndian.AppendUint16(b, kind|nested), at
}

func shut(b []byte, at int) []byte {
	binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at))
	return b
}

// header is struct nfgenmsg.
func header(b []byte, family Family, resource uint16) []byte {
	b = append(b, byte(family), unix.NFNETLINK_V0)
	return binary.BigEndian.AppendUint16(b, resource)
}

// walk calls yield for each attribute; it stops at what is malformed.
func walk(b []byte, yield func(kind uint16, data []byte)) {
	for len(b) >= unix.NLA_HDRLEN {
		n := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if n < unix.NLA_HDRLEN || n > len(b) {
			return
		}
		yield(kind, b[unix.NLA_HDRLEN:n])
		b = b[min((n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	}
}

func text(data []byte) string {
	for len(data) > 0 && data[len(data)-1] == 0 {
		data = data[:len(data)-1]
	}
	return string(data)
}

func number32(data []byte) uint32 {
	if len(data) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(data)
}

func number64(data []byte) uint64 {
	if len(data) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(data)
}
