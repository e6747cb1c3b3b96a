package userspace

import "sync"

// queuedDatagrams bounds what a flow holds while its socket is being opened or is full: four batches of the device's. More is
// dropped, as a router would.
const queuedDatagrams = 512

// datagramQueue has what is to be sent to the host, for the one goroutine that takes it: whole upper-layer payloads, in buffers of
// the pool that are cut to length.
type datagramQueue struct {
	ready chan struct{} // has an element when there is something that its taker may not know of

	mu     sync.Mutex
	bufs   []*[]byte // guarded by mu, as all below; nil while there is nothing
	closed bool
}

func newDatagramQueue() datagramQueue { return datagramQueue{ready: make(chan struct{}, 1)} }

// push takes a buffer, or reports false where there is no room, or after close.
func (q *datagramQueue) push(buf *[]byte) bool {
	q.mu.Lock()
	if q.closed || len(q.bufs) >= queuedDatagrams {
		q.mu.Unlock()
		return false
	}
	q.bufs = append(q.bufs, buf)
	first := len(q.bufs) == 1
	q.mu.Unlock()
	if first {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return true
}

// take returns all there is, and leaves room, which it has of the caller, for as much to come.
func (q *datagramQueue) take(room []*[]byte) []*[]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.bufs
	if q.bufs = room[:0]; len(taken) == 0 {
		q.bufs = nil // an idle flow holds none
	}
	return taken
}

// close refuses what comes, and returns what is left.
func (q *datagramQueue) close() []*[]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.bufs
	q.closed, q.bufs = true, nil
	return left
}
