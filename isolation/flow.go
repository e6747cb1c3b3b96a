package isolation

import (
	"net/netip"
	"time"
)

// flowKey names a flow, or the fragments of one packet, of the member whose table holds it. IPv4 addresses are in their
// mapped form, which no IPv6 address of a member has.
type flowKey struct {
	own, other         [16]byte
	ownPort, otherPort uint16 // of ICMP echo both the identifier; of fragments their identification
	protocol           Protocol
}

// flow is a record that a member began a flow, or sent the first fragment of a packet. It never says that the flow may
// go on: that is judged anew for each packet.
type flow struct {
	key  flowKey
	peer uint64        // serial number of the other member, 0 for none
	last time.Duration // when a packet of it last passed, since the filter was made

	// Of a TCP flow.
	answered, closedOwn, closedOther bool

	first firstFragment // of fragments

	at           int32 // its place in the table
	newer, older int32 // neighbours in the order of use, or -1
}

// firstFragment is what only the first fragment of a packet says.
type firstFragment struct {
	srcPort, dstPort uint16
	role             role
	flags            uint8
}

// flowTable holds the flows of one member, at most bound of them: then the one idle longest makes room. It is not safe for
// concurrent use.
type flowTable struct {
	bound   int
	index   map[flowKey]int32
	flows   []flow
	free    []int32
	newest  int32
	oldest  int32
	expires func(*flow) time.Duration // how long a flow may be idle
}

func newFlowTable(bound int, expires func(*flow) time.Duration) flowTable {
	return flowTable{bound: bound, newest: -1, oldest: -1, expires: expires}
}

// find returns the flow of key if it has not expired. The pointer is good until the table changes.
func (t *flowTable) find(key *flowKey, now time.Duration) *flow {
	i, ok := t.index[*key]
	if !ok {
		return nil
	}
	f := &t.flows[i]
	if t.expired(f, now) {
		t.remove(i)
		return nil
	}
	return f
}

func (t *flowTable) expired(f *flow, now time.Duration) bool { return now-f.last > t.expires(f) }

// touch notes that a packet of f passed.
func (t *flowTable) touch(f *flow, now time.Duration) {
	f.last = now
	if t.newest != f.at {
		t.unlink(f.at)
		t.linkNewest(f.at)
	}
}

// add makes a flow, for a key that find does not know.
func (t *flowTable) add(key *flowKey, now time.Duration) *flow {
	if t.index == nil {
		t.index = map[flowKey]int32{}
	}
	if len(t.index) >= t.bound {
		t.remove(t.oldest)
	}
	var i int32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = int32(len(t.flows))
		t.flows = append(t.flows, flow{})
	}
	t.flows[i] = flow{key: *key, last: now, at: i}
	t.index[*key] = i
	t.linkNewest(i)
	return &t.flows[i]
}

func (t *flowTable) remove(i int32) {
	delete(t.index, t.flows[i].key)
	t.unlink(i)
	t.free = append(t.free, i)
}

func (t *flowTable) linkNewest(i int32) {
	f := &t.flows[i]
	f.newer, f.older = -1, t.newest
	if t.newest >= 0 {
		t.flows[t.newest].newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
}

func (t *flowTable) unlink(i int32) {
	f := &t.flows[i]
	if f.newer >= 0 {
		t.flows[f.newer].older = f.older
	} else {
		t.newest = f.older
	}
	if f.older >= 0 {
		t.flows[f.older].newer = f.newer
	} else {
		t.oldest = f.newer
	}
}

// sweep removes the flows that have expired, and gives their memory back when none is left.
func (t *flowTable) sweep(now time.Duration) (removed int) {
	for i := t.oldest; i >= 0; {
		next := t.flows[i].newer
		if t.expired(&t.flows[i], now) {
			t.remove(i)
			removed++
		}
		i = next
	}
	if len(t.index) == 0 {
		*t = newFlowTable(t.bound, t.expires) // gives the memory back
	}
	return removed
}

func keyOf(own, other netip.Addr, ownPort, otherPort uint16, protocol Protocol) flowKey {
	return flowKey{own.As16(), other.As16(), ownPort, otherPort, protocol}
}
