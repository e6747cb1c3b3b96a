package conformance

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"
)

const (
	tapBatch = 128
	tapQueue = 512
)

// tap is the TUN device that stands between a client's network stack and its link to the node. It counts inner IP bytes
// as they are delivered, and takes raw packets that no stack would send.
type tap struct {
	mtu     int
	deliver func(packet []byte) // to the stack
	out     chan *[]byte        // from the stack
	buffers sync.Pool           // *[]byte
	events  chan tun.Event
	cut     chan struct{} // closed with the link
	once    sync.Once

	received tally
	watcher  atomic.Pointer[func(packet []byte)] // sees what is delivered
}

// tally counts packets.
type tally struct {
	packets, bytes atomic.Uint64
}

var _ tun.Device = (*tap)(nil)

func newTap(mtu int) *tap {
	t := &tap{mtu: mtu, out: make(chan *[]byte, tapQueue), events: make(chan tun.Event), cut: make(chan struct{})}
	t.buffers.New = func() any {
		b := make([]byte, 0, mtu)
		return &b
	}
	return t
}

// send puts a packet, malformed or not, on its way to the node. It waits while the link is busy.
func (t *tap) send(packet []byte) {
	buf := t.buffers.Get().(*[]byte)
	*buf = append((*buf)[:0], packet...)
	select {
	case t.out <- buf:
	case <-t.cut:
	}
}

// Read gives the link what was sent, as many packets as wait.
func (t *tap) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := 0
	take := func(buf *[]byte) {
		sizes[n] = copy(bufs[n][offset:], *buf)
		n++
		t.buffers.Put(buf)
	}
	select {
	case buf := <-t.out:
		take(buf)
	case <-t.cut:
		return 0, os.ErrClosed
	}
	for n < len(bufs) {
		select {
		case buf := <-t.out:
			take(buf)
		default:
			return n, nil
		}
	}
	return n, nil
}

// Write takes what was delivered to the client.
func (t *tap) Write(bufs [][]byte, offset int) (int, error) {
	select {
	case <-t.cut:
		return 0, os.ErrClosed
	default:
	}
	watch := t.watcher.Load()
	for _, buf := range bufs {
		packet := buf[offset:]
		t.received.packets.Add(1)
		t.received.bytes.Add(uint64(len(packet)))
		if watch != nil {
			(*watch)(packet)
		}
		t.deliver(packet)
	}
	return len(bufs), nil
}

// File is nil: there is no descriptor behind this device.
func (t *tap) File() *os.File           { return nil }
func (t *tap) MTU() (int, error)        { return t.mtu, nil }
func (t *tap) Name() (string, error)    { return "client", nil }
func (t *tap) Events() <-chan tun.Event { return t.events }
func (t *tap) BatchSize() int           { return tapBatch }

// Close cuts the link.
func (t *tap) Close() error {
	t.once.Do(func() {
		close(t.cut)
		close(t.events)
	})
	return nil
}
