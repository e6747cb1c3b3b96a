package boltstore

import (
	"bytes"
	"fmt"
	"slices"
)

// bounds are where the keys below a page are: from low up to high, which is not among them. nil is no bound.
type bounds struct{ low, high []byte }

func (b bounds) String() string {
	text := ""
	if b.low != nil {
		text += fmt.Sprintf(" from %q", b.low)
	}
	if b.high != nil {
		text += fmt.Sprintf(" up to %q", b.high)
	}
	return text
}

// tree visits the entries below a page, in order.
func (a *audit) tree(id uint64, depth int, within bounds, what string, visit func(depth int, e element)) {
	p, err := a.page(id, depth)
	if err == nil && p.flags != branchFlag && p.flags != leafFlag {
		err = fmt.Errorf("page %d is of type %#x, which none is here", id, p.flags)
	}
	if err != nil {
		a.problem("%v: it held %s%v", err, what, within)
		return
	}
	a.entries(p, depth, within, what, visit)
}

// entries visits the entries of a page and of those below it.
func (a *audit) entries(p page, depth int, within bounds, what string, visit func(depth int, e element)) {
	if p.flags == branchFlag && p.count == 0 {
		a.problem("page %d is a branch that leads nowhere: it led to %s%v", p.id, what, within)
	}
	var last []byte
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			a.problem("page %d %v: it holds %s%v", p.id, err, what, within)
			return
		}
		if i > 0 && bytes.Compare(e.key, last) <= 0 || bytes.Compare(e.key, within.low) < 0 ||
			within.high != nil && bytes.Compare(e.key, within.high) >= 0 {
			a.problem("page %d has entry %d out of order: it holds %s%v", p.id, i, what, within)
		}
		last = e.key
		if p.flags == leafFlag {
			visit(depth, e)
			continue
		}
		below := bounds{e.key, within.high}
		if i+1 < p.count {
			if next, err := p.element(i + 1); err == nil {
				below.high = next.key
			}
		}
		a.tree(e.page, depth+1, below, what, visit)
	}
}

// bucket visits the entries of a bucket, whose value in the bucket above has them or says where they are.
func (a *audit) bucket(depth int, e element, what string, visit func(depth int, e element)) {
	switch {
	case e.flags != bucketElement || len(e.value) < bucketSize:
		a.problem("%q is not a bucket: it held %s", e.key, what)
	case nativeUint64(e.value) != 0:
		a.tree(nativeUint64(e.value), depth+1, bounds{}, what, visit)
	case len(e.value) < bucketSize+headerSize:
		a.problem("bucket %q is cut off: it held %s", e.key, what)
	default:
		p, _ := parsePage(e.value[bucketSize:])
		if p.flags != leafFlag {
			a.problem("bucket %q is of type %#x, which none is here: it held %s", e.key, p.flags, what)
			return
		}
		a.entries(p, depth+1, bounds{}, what, visit)
	}
}

// page reads a page that is in use, at most once.
func (a *audit) page(id uint64, depth int) (page, error) {
	if id < 2 || id >= uint64(len(a.used)) {
		return page{}, fmt.Errorf("page %d does not exist", id)
	}
	for len(a.buffers) <= depth {
		a.buffers = append(a.buffers, nil)
	}
	size, at := a.root.pageSize, int64(id)*int64(a.root.pageSize)
	buf := slices.Grow(a.buffers[depth][:0], size)[:size]
	if _, err := a.file.ReadAt(buf, at); err != nil {
		return page{}, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	p, overflow := parsePage(buf)
	if p.id != id {
		return page{}, fmt.Errorf("page %d says that it is page %d", id, p.id)
	}
	if uint64(overflow) >= uint64(len(a.used))-id {
		return page{}, fmt.Errorf("page %d says that it goes on for %d pages, which do not exist", id, overflow)
	}
	for i := id; i <= id+uint64(overflow); i++ {
		if a.used[i] {
			return page{}, fmt.Errorf("page %d is in use in two places", i)
		}
		a.used[i] = true
	}
	if overflow > 0 {
		buf = slices.Grow(buf, int(overflow)*size)[:(int(overflow)+1)*size]
		if _, err := a.file.ReadAt(buf[size:], at+int64(size)); err != nil {
			return page{}, fmt.Errorf("page %d cannot be read: %w", id, err)
		}
		p.data = buf
	}
	a.buffers[depth] = buf
	return p, nil
}

// freelist looks for pages that bbolt would write over, and for those that it has forgotten.
func (a *audit) freelist() {
	defer func() {
		if len(a.problems) > 0 { // else those that were not reached would count
			return
		}
		for _, used := range a.used[min(2, len(a.used)):] {
			if !used {
				a.lost++
			}
		}
	}()
	if a.root.freelist == noFreelist {
		return
	}
	p, err := a.page(a.root.freelist, 0)
	if err != nil {
		a.problem("the list of free pages: %v", err)
		return
	}
	if p.flags != freelistFlag {
		a.problem("the list of free pages: page %d is of type %#x", p.id, p.flags)
		return
	}
	ids, count := p.data[headerSize:], uint64(p.count)
	if p.count == 0xFFFF { // then the count stands first
		ids, count = ids[8:], nativeUint64(ids)
	}
	if count > uint64(len(ids)/8) {
		a.problem("the list of free pages says that it has %d, for which it has no room", count)
		return
	}
	for i := range count {
		switch id := nativeUint64(ids[i*8:]); {
		case id < 2 || id >= uint64(len(a.used)):
			a.problem("the list of free pages has page %d, which does not exist", id)
		case a.used[id]:
			a.problem("the list of free pages has page %d, which is in use, or twice", id)
		default:
			a.used[id] = true
			a.free++
		}
	}
}
