package wggo

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// A device of wireguard-go takes a buffer of 64 KiB for each message and gives it back when the message has gone through, and it takes
// as many as come: its queues have room for 1,024 batches of 128 messages for each peer. So what bounds its memory is how much is let
// in at its two ends, the bind and the TUN: that is what a flight does.
//
// It knows each buffer by a number in the last bytes, where no message reaches, and hence what became of it: one that the device sends
// or writes has come through, and one that it lends again without that was dropped on the way (it was not authentic, or sent before,
// or the peer has gone). No packet that is dropped counts for longer than it holds its buffer, whoever sent it.

const (
	// inFlight is how many messages may be in a device in each direction before more wait outside, for each processor, of which two are
	// counted at least. A reader that was let in brings a batch, so that there is one for each processor and one more.
	inFlight = conn.IdealBatchSize
	// stagedAfter is when a packet for a peer is taken for one that waits for a handshake, which may take a minute and a half. What
	// there is of those the device bounds, at 128 batches for each peer, and others must not wait for them.
	stagedAfter = 250 * time.Millisecond
	// The first and the longest wait until buffers are looked for that came back and were not seen to.
	searchSoon, searchRest = time.Millisecond, 64 * time.Millisecond
	// labelSize is at the end of each buffer, behind the largest UDP payload that there can be (over IPv6, 65,527 bytes).
	labelSize = 8
)

// bounded says that this system's wireguard-go has large buffers, and takes as many as it likes.
const bounded = device.MaxMessageSize > 1<<15 && device.PreallocatedBuffersPerPool == 0

// direction is one of the two ways through a device.
type direction int

const (
	inbound direction = iota // from the bind to the TUN
	outbound
	directions
)

// flight is what a device has in hand.
type flight struct {
	limit int64 // in each direction; 0 is none
	since time.Time
	dev   atomic.Pointer[device.Device] // nil until it is made

	count   [directions]atomic.Int64 // of messages on their way
	staged  [directions]atomic.Int64 // how many of them did not count when that was looked at last
	waiting [directions]atomic.Int32 // readers
	left    [directions]chan struct{}
	owned   atomic.Int64 // buffers that are known and not collected

	searching sync.Mutex
	mu        sync.Mutex // for those who add to labels
	labels    atomic.Pointer[[]*label]
	free      []uint32 // guarded by mu: numbers that can be had again

	blank [device.MaxMessageSize]byte // nobody reads it
}

// label is where a buffer is: 0 when it is not on its way, else twice the time when it set off, in ns, and the direction.
type label struct{ state atomic.Int64 }

func newFlight(limit int) *flight {
	if limit == 0 {
		limit = inFlight * max(2, runtime.GOMAXPROCS(0))
	}
	if !bounded {
		limit = 0
	}
	f := &flight{limit: max(int64(limit), 0), since: time.Now()}
	for d := range f.left {
		f.left[d] = make(chan struct{}, 1)
	}
	f.labels.Store(new([]*label))
	return f
}

// label returns what is known of a buffer, nil if nothing is. Any slice from the buffer's beginning will do.
func (f *flight) label(buf []byte) *label {
	if cap(buf) != device.MaxMessageSize {
		return nil
	}
	labels := *f.labels.Load()
	number := int(binary.LittleEndian.Uint32(buf[:cap(buf)][device.MaxMessageSize-labelSize:]))
	if number < 1 || number > len(labels) {
		return nil
	}
	return labels[number-1]
}

// meet labels a buffer that is new.
func (f *flight) meet(buf []byte) {
	if cap(buf) != device.MaxMessageSize {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var number uint32
	if last := len(f.free) - 1; last >= 0 {
		number, f.free = f.free[last], f.free[:last]
	} else {
		labels := append(*f.labels.Load(), new(label))
		f.labels.Store(&labels)
		number = uint32(len(labels))
	}
	binary.LittleEndian.PutUint32(buf[:cap(buf)][device.MaxMessageSize-labelSize:], number)
	f.owned.Add(1)
	runtime.AddCleanup(&buf[:1][0], f.part, number)
}

// part forgets a buffer that was collected.
func (f *flight) part(number uint32) {
	f.arrive((*f.labels.Load())[number-1])
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = append(f.free, number)
	f.owned.Add(-1)
}

// depart notes which buffers set off. Of what comes from the bind these are transport messages: those of handshakes the device bounds.
func (f *flight) depart(d direction, bufs [][]byte) {
	n, state := int64(0), int64(time.Since(f.since))<<1|int64(d)
	for _, buf := range bufs {
		if d == inbound && messageType(buf) != device.MessageTransportType {
			continue
		}
		if l := f.label(buf); l != nil && l.state.Swap(state) == 0 {
			n++
		}
	}
	f.count[d].Add(n)
}

// arrive notes that a buffer is not on its way any more, if it was.
func (f *flight) arrive(l *label) {
	if state := l.state.Swap(0); state != 0 {
		f.count[state&1].Add(-1)
	}
}

// through notes what has come through the device. The device's goroutines of each peer keep the slice that they pass, up to 128 buffers,
// until the peer's next batch, and with it buffers that the collector could have: so others of the same lengths, which is all that is
// looked at afterwards, take their places.
func (f *flight) through(bufs [][]byte) {
	if f.limit == 0 {
		return
	}
	for i, buf := range bufs {
		if l := f.label(buf); l != nil {
			f.arrive(l)
			bufs[i] = f.blank[:len(buf)]
		}
	}
	for d := range f.left {
		if f.waiting[d].Load() > 0 && f.count[d].Load()-f.staged[d].Load() < f.limit {
			select {
			case f.left[d] <- struct{}{}:
			default:
			}
		}
	}
}

// full reports whether more must wait.
func (f *flight) full(d direction) bool {
	count := f.count[d].Load()
	if count < f.limit || d == inbound {
		return count >= f.limit
	}
	fresh, n := int64(time.Since(f.since)-stagedAfter)<<1, int64(0)
	for _, l := range *f.labels.Load() {
		if state := l.state.Load(); state > fresh && direction(state&1) == d {
			n++
		}
	}
	f.staged[d].Store(count - n)
	return n >= f.limit
}

// await waits until there is room for more, or until over says that it is for nothing.
func (f *flight) await(d direction, over func() bool) {
	if f.limit == 0 || !f.full(d) {
		return
	}
	f.waiting[d].Add(1)
	defer f.waiting[d].Add(-1)
	rest := searchSoon
	timer := time.NewTimer(rest)
	defer timer.Stop()
	for f.full(d) && !over() {
		select {
		case <-f.left[d]:
		case <-timer.C:
			f.search()
			rest = min(2*rest, searchRest)
			timer.Reset(rest)
		}
	}
}

// search looks through the buffers that nobody uses for those that were dropped on the way.
func (f *flight) search() {
	dev := f.dev.Load()
	if dev == nil || !f.searching.TryLock() {
		return
	}
	defer f.searching.Unlock()
	var idle []*[device.MaxMessageSize]byte
	for range f.owned.Load() {
		b := dev.GetMessageBuffer()
		l := f.label(b[:])
		if l == nil {
			break // it was made now, as there was no other: the collector's
		}
		f.arrive(l)
		idle = append(idle, b)
	}
	for _, b := range idle {
		dev.PutMessageBuffer(b)
	}
}
