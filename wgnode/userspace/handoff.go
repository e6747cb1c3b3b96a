package userspace

import (
	"os"
	"sync"

	"github.com/waylume/waylume/shaping"
)

// handoffPackets bounds the packets that wait for the WireGuard device: a few batches of its own size.
const handoffPackets = 1024

// handoff passes packets from the packet path to the one goroutine of the device that reads its TUN. A full handoff makes
// the writer wait: what must be dropped is for the shaper to choose, never for a queue that happens to be full.
type handoff struct {
	mu       sync.Mutex
	readable sync.Cond
	writable sync.Cond
	ring     [handoffPackets]*shaping.Packet // guarded by mu, as all below
	head, n  int
	closed   bool
	held     bool // nobody is to read
}

func newHandoff() *handoff {
	h := new(handoff)
	h.readable.L, h.writable.L = &h.mu, &h.mu
	return h
}

// push takes ownership of the packets; after close it frees them.
func (h *handoff) push(pkts []*shaping.Packet) {
	h.mu.Lock()
	for i, pkt := range pkts {
		for h.n == len(h.ring) && !h.closed {
			h.writable.Wait()
		}
		if h.closed {
			h.mu.Unlock()
			free(pkts[i:])
			return
		}
		h.ring[(h.head+h.n)%len(h.ring)] = pkt
		if h.n++; h.n == 1 {
			h.readable.Signal()
		}
	}
	h.mu.Unlock()
}

// pop waits for a packet and moves as many as there are, up to len(pkts). The error is os.ErrClosed when the handoff is closed,
// os.ErrDeadlineExceeded when it is held.
func (h *handoff) pop(pkts []*shaping.Packet) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.n == 0 && !h.closed && !h.held {
		h.readable.Wait()
	}
	switch {
	case h.closed:
		return 0, os.ErrClosed
	case h.held:
		return 0, os.ErrDeadlineExceeded
	}
	n := min(h.n, len(pkts))
	for i := range n {
		pkts[i] = h.ring[h.head]
		h.ring[h.head] = nil
		h.head = (h.head + 1) % len(h.ring)
	}
	h.n -= n
	h.writable.Broadcast()
	return n, nil
}

// hold has pop return at once, with nothing, or wait again.
func (h *handoff) hold(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = on
	h.readable.Broadcast()
}

// close frees what waits and lets every reader and writer go. A second call does nothing.
func (h *handoff) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.closed = true; h.n > 0; h.n-- {
		h.ring[h.head].Free()
		h.ring[h.head] = nil
		h.head = (h.head + 1) % len(h.ring)
	}
	h.readable.Broadcast()
	h.writable.Broadcast()
}

func free(pkts []*shaping.Packet) {
	for _, pkt := range pkts {
		pkt.Free()
	}
}
