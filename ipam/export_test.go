package ipam

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
)

// Check returns an error if the pool's books contradict themselves or the layout.
func (p *Pool) Check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.books {
		if err := b.check(); err != nil {
			return fmt.Errorf("%s: %w", b.layout.family, err)
		}
	}
	return nil
}

func (b *book) check() error {
	seen := newSlotSet(b.layout.bound)
	var batched uint64
	for _, batch := range b.quarantine.batches {
		batched += batch.n
	}
	if batched != b.quarantine.slots.n {
		return fmt.Errorf("batches have %d slots, the queue %d", batched, b.quarantine.slots.n)
	}
	for slot := range b.quarantine.slots.all() {
		if !seen.add(uint64(slot)) {
			return fmt.Errorf("slot %d rests twice", slot)
		}
	}
	for name, s := range map[string]*slotSet{"leased": b.leased, "ready": b.ready, "later": b.later} {
		if err := s.check(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for slot, ok := s.next(0); ok; slot, ok = s.next(slot + 1) {
			last := slot
			if s.isFull(slot >> pageShift) { // slot by slot would take long in a /8
				last += pageSlots - 1
			}
			if seen.addRange(slot, last) != last-slot+1 {
				return fmt.Errorf("a slot from %d to %d is %s and elsewhere", slot, last, name)
			}
			slot = last
		}
	}
	for _, s := range b.layout.leasable {
		if seen.removeRange(s.first, s.last) != s.len() {
			return fmt.Errorf("a slot from %d to %d is nowhere", s.first, s.last)
		}
	}
	if seen.n != 0 {
		return fmt.Errorf("%d slots are not leasable", seen.n)
	}
	return nil
}

// check returns an error if the summaries of the set do not agree with its words.
func (s *slotSet) check() error {
	var n uint64
	for p := range uint64(len(s.pages)) {
		pg, full := s.pages[p], s.isFull(p)
		if some := s.some[0][p>>6]>>(p&63)&1 != 0; some != (full || pg != nil) {
			return fmt.Errorf("page %d: summary says %v", p, some)
		}
		if full && pg != nil {
			return fmt.Errorf("page %d is full and stored", p)
		}
		if pg == nil {
			n += uint64(s.pageLen(p))
			continue
		}
		count := 0
		for w, word := range pg.words {
			count += bits.OnesCount64(word)
			if (word != 0) != (pg.used>>w&1 != 0) {
				return fmt.Errorf("page %d: word %d is %x but used is %x", p, w, word, pg.used)
			}
		}
		if count != pg.n || count == 0 || count == pageSlots {
			return fmt.Errorf("page %d: has %d slots and says %d", p, count, pg.n)
		}
		n += uint64(count)
	}
	for k := range s.some[1:] {
		for w, word := range s.some[k] {
			if (word != 0) != (s.some[k+1][w>>6]>>(w&63)&1 != 0) {
				return fmt.Errorf("level %d: wrong about word %d", k+1, w)
			}
		}
	}
	if n != s.n {
		return fmt.Errorf("has %d slots and says %d", n, s.n)
	}
	return nil
}

// Seal returns a binary snapshot with the body and a sound envelope.
func Seal(body []byte) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

// Body returns the body of a binary snapshot.
func Body(sealed []byte) []byte { return sealed[len(snapshotMagic)+1 : len(sealed)-4] }

// LeaseRange leases every address from first to last, which are in one window and free, faster than one by one.
func (p *Pool) LeaseRange(first, last netip.Addr) error {
	at, err := p.locate("lease", first)
	if err != nil {
		return err
	}
	a, _ := at.window.slot(first)
	z, _ := at.window.slot(last)
	b := p.books[at.book]
	if b.ready.removeRange(a, z) != z-a+1 {
		return ErrTaken
	}
	b.leased.addRange(a, z)
	return nil
}
