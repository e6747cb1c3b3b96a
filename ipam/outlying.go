package ipam

import (
	"net/netip"
	"slices"
	"time"
)

// leasedOut stands for the end of a lease, which has none.
const leasedOut time.Duration = -1

// outlying are the addresses beyond the windows of their prefixes that are not free. There are at most MaxOutlying.
type outlying struct {
	until map[netip.Addr]time.Duration // leasedOut, or when the rest is over
	queue fifo[outlier]                // those that rest, in the order of their release
	last  time.Duration                // the latest end of a rest so far
}

type outlier struct {
	addr  netip.Addr
	until time.Duration
}

func newOutlying() outlying { return outlying{until: make(map[netip.Addr]time.Duration)} }

// leased returns how many are leased.
func (o *outlying) leased() uint64 { return uint64(len(o.until)) - o.queue.n }

// rest begins the rest of an address, until then or until that of the address before it ends, if that is later.
func (o *outlying) rest(a netip.Addr, until time.Duration) {
	until = max(until, o.last)
	o.last = until
	o.until[a] = until
	o.queue.push(outlier{a, until})
}

// expire frees those whose rest is over.
func (o *outlying) expire(at time.Duration) {
	for o.queue.n > 0 && o.queue.peek().until <= at {
		delete(o.until, o.queue.pop().addr)
	}
}

// leases returns the leased addresses, ascending.
func (o *outlying) leases() []netip.Addr {
	list := make([]netip.Addr, 0, o.leased())
	for a, until := range o.until {
		if until == leasedOut {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}
