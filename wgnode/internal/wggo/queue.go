package wggo

import (
	"sync"

	"golang.zx2c4.com/wireguard/conn"
)

// queueLength is how many packets wait for the device that they are passed on to: a few batches.
const queueLength = 1024

// queue has copies of packets for the one goroutine that pops them. One who finds it full waits: the device that pops drops what it
// cannot use, and never stands still.
type queue struct {
	over chan struct{} // closed by seal and close

	mu       sync.Mutex
	readable sync.Cond
	writable sync.Cond
	ring     []queued // guarded by mu, as all below; nil until the first push
	head, n  int
	sealed   bool
	closed   bool
}

type queued struct {
	data []byte
	ep   conn.Endpoint
}

func newQueue() *queue {
	q := &queue{over: make(chan struct{})}
	q.readable.L, q.writable.L = &q.mu, &q.mu
	return q
}

// push copies the packets that are picked; eps is nil for those of a TUN. What comes after seal or close is dropped.
func (q *queue) push(bufs [][]byte, sizes []int, eps []conn.Endpoint, offset int, picked []int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ring == nil {
		q.ring = make([]queued, queueLength)
	}
	for _, i := range picked {
		for q.n == len(q.ring) && !q.sealed && !q.closed {
			q.writable.Wait()
		}
		if q.sealed || q.closed {
			return
		}
		at := &q.ring[(q.head+q.n)%len(q.ring)]
		at.data = append(at.data[:0], bufs[i][offset:offset+sizes[i]]...)
		if eps != nil {
			at.ep = eps[i]
		}
		if q.n++; q.n == 1 {
			q.readable.Signal()
		}
	}
}

// pop waits for a packet and moves as many as there are, up to len(bufs). After seal it returns what was left, and then 0; after
// close 0 at once.
func (q *queue) pop(bufs [][]byte, sizes []int, eps []conn.Endpoint, offset int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.n == 0 && !q.sealed && !q.closed {
		q.readable.Wait()
	}
	n := min(q.n, len(bufs))
	for i := range n {
		at := &q.ring[q.head]
		sizes[i] = copy(bufs[i][offset:], at.data)
		if eps != nil {
			eps[i], at.ep = at.ep, nil
		}
		q.head = (q.head + 1) % len(q.ring)
	}
	q.n -= n
	q.writable.Broadcast()
	return n
}

// seal ends the queue behind what is in it.
func (q *queue) seal() { q.end(false) }

// close ends the queue and drops what is in it. A second call of either does nothing more than that.
func (q *queue) close() { q.end(true) }

func (q *queue) end(drop bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.sealed && !q.closed {
		close(q.over)
	}
	q.sealed = true
	if drop {
		q.closed, q.n, q.ring = true, 0, nil
	}
	q.readable.Broadcast()
	q.writable.Broadcast()
}
