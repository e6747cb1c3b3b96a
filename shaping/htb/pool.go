package htb

import (
	"fmt"
	"slices"
)

// Class is the minor number of a class, the same on each device of a tree: 1:c. The zero value is no class.
type Class uint16

// String prints the class as tc(8) does: "1:2a".
func (c Class) String() string { return fmt.Sprintf("1:%x", uint16(c)) }

const (
	rootClass  Class = 1
	firstClass Class = 2
	lastClass  Class = 0xfffe // 0xffff means "unspecified" in some places of the kernel's

	// MaxClasses is how many leaves and groups a tree holds.
	MaxClasses = 65_000
)

// pool knows which classes there are, who is below whom, and which are free. It is pure: what it hands out, another makes in
// the kernel. It is not safe for concurrent use.
//
//	unused --claim, grow--> claimed or free --forget, evict--> unused
//
// A slot is a class that exists, or will as soon as someone makes it. It is ready when it exists on all devices. The parent
// of a slot never changes until it is forgotten: HTB cannot move classes.
type pool struct {
	slots  []*slot // by class
	size   int     // slots that are not nil
	most   int
	claims int     // leaves and groups that are claimed
	unused []Class // given back, to be used again before next
	next   Class
	// barred are classes that are in the kernel and no slots.
	barred map[Class]struct{}
	// free leaves below the root.
	free leafLists
	// bundles are free groups by the number of their leaves; the last list has those with more.
	bundles [maxBundle + 1]list
	cursor  int // of evict
}

const maxBundle = 64

func newPool(most int) *pool {
	return &pool{slots: make([]*slot, int(lastClass)+1), most: most, next: firstClass, barred: make(map[Class]struct{})}
}

// get returns the slot of a class, or nil.
func (p *pool) get(c Class) *slot {
	if int(c) >= len(p.slots) {
		return nil
	}
	return p.slots[c]
}

// claimedGroup returns the slot of a claimed group, or nil.
func (p *pool) claimedGroup(c Class) *slot {
	if s := p.get(c); s != nil && s.claimed && s.group {
		return s
	}
	return nil
}

// list puts a free slot where those who look for one find it.
func (p *pool) list(s *slot) {
	s.unlist()
	if s.claimed {
		return
	}
	lists := &p.free
	switch parent := p.get(s.parent); {
	case parent != nil:
		lists = &parent.free
	case s.leaves > 0:
		p.bundles[min(s.leaves, maxBundle)].add(s)
		return
	}
	s.group = false
	if s.ready {
		lists.ready.add(s)
	} else {
		lists.cold.add(s)
	}
}

// setReady says whether a slot exists on all devices.
func (p *pool) setReady(c Class, ready bool) {
	if s := p.get(c); s != nil && s.ready != ready {
		s.ready = ready
		p.list(s)
	}
}

// claimLeaf claims a leaf below a claimed group, or for 0 below the root. Without one to claim, nor a class id for a new one,
// it returns nil: evict makes room.
func (p *pool) claimLeaf(group Class) *slot {
	lists, parent := &p.free, rootClass
	if g := p.claimedGroup(group); g != nil {
		lists, parent = &g.free, group
	}
	s := lists.best()
	if s == nil {
		if s = p.add(parent); s == nil {
			return nil
		}
	}
	p.claim(s, false)
	return s
}

// claimGroup claims a group, if possible one that has so many leaves already and few more.
func (p *pool) claimGroup(leaves int) *slot {
	leaves = min(max(leaves, 1), maxBundle)
	var s *slot
	for n := leaves; n <= maxBundle && s == nil; n++ {
		s = p.bundles[n].last()
	}
	for n := leaves - 1; n > 0 && s == nil; n-- {
		s = p.bundles[n].last()
	}
	if s == nil {
		s = p.free.best()
	}
	if s == nil {
		if s = p.add(rootClass); s == nil {
			return nil
		}
	}
	p.claim(s, true)
	return s
}

// adopt claims a slot that must be there, be free, and have that parent.
func (p *pool) adopt(c, group Class, asGroup bool) bool {
	parent := rootClass
	if group != 0 {
		if p.claimedGroup(group) == nil {
			return false
		}
		parent = group
	}
	s := p.get(c)
	if s == nil || s.claimed || s.parent != parent || !asGroup && s.leaves > 0 {
		return false
	}
	p.claim(s, asGroup)
	return true
}

func (p *pool) claim(s *slot, asGroup bool) {
	s.unlist()
	s.claimed, s.group = true, asGroup
	p.claims++
	if parent := p.get(s.parent); parent != nil {
		parent.claimedLeaves++
	}
}

// release frees what is claimed. A group must have no claimed leaves.
func (p *pool) release(s *slot) {
	s.claimed = false
	p.claims--
	if parent := p.get(s.parent); parent != nil {
		parent.claimedLeaves--
	}
	p.list(s)
}

// add makes a free slot that is not ready, with a class id that none has; nil if there is none left.
func (p *pool) add(parent Class) *slot {
	if p.size >= p.most {
		return nil
	}
	for n := len(p.unused); n > 0; n = len(p.unused) {
		c := p.unused[n-1]
		p.unused = p.unused[:n-1]
		if p.isUnused(c) {
			return p.restore(c, parent)
		}
	}
	for ; p.next <= lastClass; p.next++ {
		if p.isUnused(p.next) {
			p.next++
			return p.restore(p.next-1, parent)
		}
	}
	return nil
}

func (p *pool) isUnused(c Class) bool {
	_, barred := p.barred[c]
	return !barred && p.slots[c] == nil
}

// restore makes a free slot of a class that the kernel has. Its parent is the root or another slot below the root.
func (p *pool) restore(c, parent Class) *slot {
	s := &slot{class: c, parent: parent}
	p.slots[c] = s
	p.size++
	if above := p.get(parent); above != nil {
		above.leaves++
		above.below = append(above.below, c)
		above.group = true
		p.list(above)
	}
	p.list(s)
	return s
}

// forget takes out a free slot that has no leaves: the kernel does not have it.
func (p *pool) forget(s *slot) {
	s.unlist()
	p.slots[s.class] = nil
	p.size--
	if _, barred := p.barred[s.class]; !barred {
		p.unused = append(p.unused, s.class)
	}
	if above := p.get(s.parent); above != nil {
		above.leaves--
		i := slices.Index(above.below, s.class)
		above.below = slices.Delete(above.below, i, i+1)
		p.list(above)
	}
}

// bar keeps a class that the kernel has from being handed out; unbar ends that.
func (p *pool) bar(c Class) { p.barred[c] = struct{}{} }

func (p *pool) unbar(c Class) {
	delete(p.barred, c)
	if c >= firstClass && c <= lastClass && p.slots[c] == nil {
		p.unused = append(p.unused, c)
	}
}

// victim returns a free slot without leaves, to be deleted in the kernel and forgotten where class ids have run out and the
// free ones have the wrong parent; nil if all are claimed.
func (p *pool) victim() *slot {
	if s := p.free.best(); s != nil {
		return s
	}
	for range p.slots {
		p.cursor = (p.cursor + 1) % len(p.slots)
		if s := p.slots[p.cursor]; s != nil && !s.claimed && s.leaves == 0 {
			return s
		}
	}
	return nil
}

// readyLeaves is how many claims below the root would find a leaf.
func (p *pool) readyLeaves() int { return len(p.free.ready.slots) }

const maxReserve = 1024

// short returns how many leaves to make ahead of need: as many as are asked for, or an eighth of what is claimed but not
// more than maxReserve, as far as there are class ids.
func (p *pool) short(reserve int) int {
	if reserve <= 0 {
		return 0
	}
	want := max(reserve, min(p.claims/8, maxReserve)) - p.readyLeaves()
	return max(min(want, p.most-p.size+len(p.free.cold.slots)), 0)
}

// grow returns a free leaf below the root to be made ready, or nil.
func (p *pool) grow() *slot {
	if s := p.free.cold.last(); s != nil {
		return s
	}
	return p.add(rootClass)
}
