package userspace

import (
	"sync"

	"golang.org/x/net/ipv4"
)

// Sizes of pooled buffers, in bytes. A large one holds any IP packet.
const (
	largeBuffer = 64 << 10
	smallBuffer = 2 << 10
)

// buffers lends memory to what moves bytes, for as long as they move: an idle connection holds none. The zero value is
// ready to use.
type buffers struct{ large, small, messages sync.Pool }

// get returns a large buffer.
func (c *buffers) get() *[]byte { return take(&c.large, largeBuffer) }

// getSize returns a buffer of n bytes, n no more than largeBuffer.
func (c *buffers) getSize(n int) *[]byte {
	pool, size := &c.small, smallBuffer
	if n > smallBuffer {
		pool, size = &c.large, largeBuffer
	}
	b := take(pool, size)
	*b = (*b)[:n]
	return b
}

func take(pool *sync.Pool, size int) *[]byte {
	if b, ok := pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, size)
	return &b
}

// put takes back a buffer, whatever it was cut to.
func (c *buffers) put(b *[]byte) {
	*b = (*b)[:cap(*b)]
	if len(*b) == largeBuffer {
		c.large.Put(b)
	} else {
		c.small.Put(b)
	}
}

// getMessages returns writeBatch messages with room for one buffer each.
func (c *buffers) getMessages() []ipv4.Message {
	if m, ok := c.messages.Get().(*[]ipv4.Message); ok {
		return *m
	}
	m := make([]ipv4.Message, writeBatch)
	for i := range m {
		m[i].Buffers = make([][]byte, 1)
	}
	return m
}

// putMessages takes messages back.
func (c *buffers) putMessages(m []ipv4.Message) {
	for i := range m {
		m[i].Buffers[0] = nil
	}
	c.messages.Put(&m)
}
