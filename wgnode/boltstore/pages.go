package boltstore

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of bbolt's files, in the byte order of the machine (bbolt: internal/common/page.go, meta.go, inode.go).
//
// This package reads it by itself before bbolt does. bbolt follows what the pages say through a memory map: a damaged page
// can make it crash the process, or never end, and a wrong list of free pages makes it write over records.
const (
	headerSize  = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementSize = 16 // branch: pos, ksize uint32, page uint64; leaf: flags, pos, ksize, vsize uint32
	bucketSize  = 16 // page uint64, sequence uint64; a page of 0 means that the page's content follows
	rootSize    = 64 // magic, version, page size, flags uint32, bucket, free list, pages, transaction, checksum uint64

	branchFlag   = 0x01
	leafFlag     = 0x02
	rootFlag     = 0x04
	freelistFlag = 0x10

	bucketElement = 0x01 // a leaf's element that is a bucket

	rootMagic   = 0xED0CDAED
	rootVersion = 2

	noFreelist = ^uint64(0) // the list of free pages is not in the file

	minPageSize, maxPageSize = 1 << 10, 1 << 24
)

// root is what a root page says. There are two, for the last commit and the one before.
type root struct {
	pageSize int
	bucket   uint64 // page of the bucket of buckets
	freelist uint64 // first page of the list of free pages
	pages    uint64 // how many pages are in use or free
	commit   uint64 // number of the transaction that wrote it
}

// readRoot reads the root page number i of a file that has pages of a size.
func readRoot(file io.ReaderAt, i, pageSize int) (root, error) {
	var buf [headerSize + rootSize]byte
	if _, err := file.ReadAt(buf[:], int64(i)*int64(pageSize)); err != nil {
		return root{}, fmt.Errorf("root page %d cannot be read: %w", i, err)
	}
	order, body := binary.NativeEndian, buf[headerSize:]
	sum := fnv.New64a()
	_, _ = sum.Write(body[:rootSize-8]) // which never fails
	switch {
	case order.Uint32(body) != rootMagic:
		return root{}, fmt.Errorf("root page %d does not begin as one", i)
	case order.Uint32(body[4:]) != rootVersion:
		return root{}, fmt.Errorf("root page %d is of version %d, not %d", i, order.Uint32(body[4:]), rootVersion)
	case order.Uint64(body[rootSize-8:]) != sum.Sum64():
		return root{}, fmt.Errorf("the checksum of root page %d is wrong", i)
	case order.Uint16(buf[8:]) != rootFlag || order.Uint64(buf[:]) != uint64(i):
		return root{}, fmt.Errorf("root page %d has another's header", i)
	}
	r := root{
		pageSize: int(order.Uint32(body[8:])),
		bucket:   order.Uint64(body[16:]),
		freelist: order.Uint64(body[32:]),
		pages:    order.Uint64(body[40:]),
		commit:   order.Uint64(body[48:]),
	}
	if r.pageSize < minPageSize || r.pageSize > maxPageSize || i == 1 && r.pageSize != pageSize {
		return root{}, fmt.Errorf("root page %d gives pages %d bytes", i, r.pageSize)
	}
	return r, nil
}

// readRoots reads both root pages; broken says what is wrong with the one that cannot be used, if the other can.
func readRoots(file io.ReaderAt) (newest root, broken, err error) {
	first, firstErr := readRoot(file, 0, 0)
	if firstErr != nil { // which keeps the size of pages, too
		for size := minPageSize; size <= maxPageSize; size *= 2 {
			if second, err := readRoot(file, 1, size); err == nil {
				return second, firstErr, nil
			}
		}
		return root{}, nil, fmt.Errorf("it is no state of a node, or its beginning is destroyed: %w", firstErr)
	}
	second, secondErr := readRoot(file, 1, first.pageSize)
	if secondErr != nil {
		return first, secondErr, nil
	}
	if second.commit > first.commit {
		return second, nil, nil
	}
	return first, nil, nil
}

func nativeUint64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// page is the content of a page with those that it goes on into.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // with the header
}

// parsePage reads a header.
func parsePage(data []byte) (p page, overflow uint32) {
	order := binary.NativeEndian
	return page{order.Uint64(data), order.Uint16(data[8:]), int(order.Uint16(data[10:])), data}, order.Uint32(data[12:])
}

// element is an entry of a leaf, or of a branch, which has a page instead of a value.
type element struct {
	flags      uint32
	page       uint64
	key, value []byte
}

// element cuts out an entry.
func (p page) element(i int) (element, error) {
	at := headerSize + i*elementSize
	if at+elementSize > len(p.data) {
		return element{}, fmt.Errorf("says that it has %d entries, for which it has no room", p.count)
	}
	order, head := binary.NativeEndian, p.data[at:]
	var e element
	var pos, keySize, valueSize uint64
	if p.flags == branchFlag {
		pos, keySize = uint64(order.Uint32(head)), uint64(order.Uint32(head[4:]))
		e.page = order.Uint64(head[8:])
	} else {
		e.flags, pos = order.Uint32(head), uint64(order.Uint32(head[4:]))
		keySize, valueSize = uint64(order.Uint32(head[8:])), uint64(order.Uint32(head[12:]))
	}
	key := uint64(at) + pos
	if end := key + keySize + valueSize; end > uint64(len(p.data)) {
		return element{}, fmt.Errorf("has entry %d outside of itself", i)
	}
	if keySize == 0 {
		return element{}, fmt.Errorf("has entry %d without a key", i)
	}
	e.key, e.value = p.data[key:key+keySize], p.data[key+keySize:key+keySize+valueSize]
	return e, nil
}
