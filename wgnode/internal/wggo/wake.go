package wggo

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

const (
	// wakeQueue is how many packets wait for peers that are to be brought in.
	wakeQueue = 256
	// wakeBurst and wakeRate in a second are how many peers are brought in as the node has something to send them. Junk that comes
	// for idle peers thus keeps 1,400 of them at most in devices that do not answer: wokenShare of the idle time later they leave.
	wakeBurst = 500
	wakeRate  = 5
)

// caller brings peers back that have left, when there is something to send to them and their last address is known: WireGuard shakes
// hands with them there.
type caller struct {
	reg     *registry
	bouncer *bouncer
	queue   chan call
	limit   *rate.Limiter
}

// call is a packet for a peer that is in no device.
type call struct {
	to     *entry
	packet []byte
}

func newCaller(reg *registry, b *bouncer) *caller {
	return &caller{reg: reg, bouncer: b, queue: make(chan call, wakeQueue), limit: rate.NewLimiter(wakeRate, wakeBurst)}
}

// leaves takes those packets out of what was read from the TUN that are for peers that have left, and picks those of peers that are
// reached by the guest, if there is one. A packet of size 0 is none to wireguard-go.
func (c *caller) leaves(bufs [][]byte, sizes []int, offset int, guest *lane) (picked []int) {
	c.reg.mu.RLock()
	defer c.reg.mu.RUnlock()
	var last netip.Addr
	var e *entry
	for i, buf := range bufs {
		packet := buf[offset : offset+sizes[i]]
		_, to := addrs(packet)
		if to != last {
			e, last = c.reg.lookupLocked(to), to
		}
		switch {
		case e == nil:
		case e.now == nil:
			if _, l := e.was.last(c.reg.live); l != nil {
				c.hold(e, packet)
				sizes[i] = 0
			}
		case guest != nil && e.now.by.Load() == guest:
			picked = append(picked, i)
		}
	}
	return picked
}

// hold keeps a packet until its peer is in, if there is room.
func (c *caller) hold(e *entry, packet []byte) {
	if len(c.queue) == cap(c.queue) {
		return // or it would be copied for nothing
	}
	select {
	case c.queue <- call{e, append([]byte(nil), packet...)}:
	default:
	}
}

// work brings in peers until the context ends.
func (c *caller) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case call := <-c.queue:
			if l := c.wake(call.to); l != nil {
				l.sends(call.packet)
			}
		}
	}
}

// wake has a peer be in a device, and returns the lane; nil if it cannot be.
func (c *caller) wake(e *entry) *lane {
	e.door.Lock()
	defer e.door.Unlock()
	c.reg.mu.RLock()
	var v visit
	var l *lane
	present := e.now != nil
	if present {
		l = e.now.by.Load()
	} else {
		v, l = e.was.last(c.reg.live)
	}
	c.reg.mu.RUnlock()
	if l == nil || present {
		return l
	}
	id := l.identity.Load()
	if id == nil || !c.limit.Allow() {
		return nil
	}
	shared, ok := id.shared(e.key[:])
	if !ok {
		return nil
	}
	if _, err := c.bouncer.enter(e, l, shared, v.endpoint); err != nil {
		return nil // it is gone, or there is no room: for its sake nobody leaves
	}
	return l
}

// sends has the lane's device read a packet as if from the TUN.
func (l *lane) sends(packet []byte) {
	if !l.m.owned(l) {
		l.out.push([][]byte{packet}, []int{len(packet)}, nil, 0, []int{0})
		return
	}
	if l.m.hold(1) == nil && !l.aside.put(packet) {
		_ = l.m.hold(-1) // the device fails when its TUN does
	}
}

// took reads what was put aside, and lets the TUN be read on when nothing is left.
func (l *lane) took(bufs [][]byte, sizes []int, offset int) int {
	n, holds := l.aside.take(bufs, sizes, offset)
	if holds > 0 {
		_ = l.m.hold(-holds) // see sends
	}
	return n
}

// putNothingAside is for when the lane does not read the TUN any more.
func (l *lane) putNothingAside() {
	if holds := l.aside.end(); holds > 0 {
		_ = l.m.hold(-holds) // see sends
	}
}

// asideMost is how many packets are put aside at most.
const asideMost = 64

// aside has packets that the owner of the TUN is to read besides. As long as there are any, the TUN is held once for each that came.
type aside struct {
	some atomic.Bool // there are some, or it is over

	mu      sync.Mutex
	packets [][]byte // guarded by mu, as all below
	holds   int
	over    bool
}

func (a *aside) put(packet []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || len(a.packets) == asideMost {
		return false
	}
	a.packets = append(a.packets, packet)
	a.holds++
	a.some.Store(true)
	return true
}

// take moves as many as there are, up to len(bufs), and returns how many holds are due to end.
func (a *aside) take(bufs [][]byte, sizes []int, offset int) (n, holds int) {
	if !a.some.Load() {
		return 0, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n = min(len(bufs), len(a.packets))
	for i, packet := range a.packets[:n] {
		sizes[i] = copy(bufs[i][offset:], packet)
	}
	if a.packets = a.packets[n:]; len(a.packets) > 0 {
		return n, 0
	}
	holds, a.holds, a.packets = a.holds, 0, nil
	a.some.Store(false)
	return n, holds
}

// end drops what there is and has no more be put aside; it returns how many holds are due to end.
func (a *aside) end() (holds int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	holds = a.holds
	a.over, a.holds, a.packets = true, 0, nil
	a.some.Store(false)
	return holds
}
