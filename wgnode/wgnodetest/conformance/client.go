package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
)

// client is a peer's device: a network stack, a tap on its wire, and a link to the node.
type client struct {
	*tap
	stack  *Stack
	cfg    wgnode.ClientConfig
	v4, v6 netip.Addr
	link   io.Closer
	off    sync.Once
	pings  atomic.Uint32
}

// connect brings up the device that cfg describes; it is closed with the test.
func connect(w *world, cfg wgnode.ClientConfig) *client {
	w.t.Helper()
	c := &client{tap: newTap(cfg.MTU), cfg: cfg}
	var err error
	c.stack, err = NewStack(cfg.MTU, c.send)
	require.NoError(w.t, err)
	w.t.Cleanup(c.disconnect)
	c.deliver = c.stack.Inject
	for _, addr := range cfg.Addrs {
		require.NoError(w.t, c.stack.AddAddr(addr))
		if addr.Is4() {
			c.v4 = addr
		} else {
			c.v6 = addr
		}
	}
	link, err := w.rig.Connect(c.tap, cfg)
	require.NoError(w.t, err)
	c.link = link
	return c
}

// disconnect takes the device away, as when a phone is switched off: the node is not told.
func (c *client) disconnect() {
	c.off.Do(func() {
		if c.link != nil {
			_ = c.link.Close() // nothing can be done about it, and the tap is closed next
		}
		_ = c.tap.Close()
		c.stack.Close()
	})
}

// addr is the client's address of the family of other.
func (c *client) addr(other netip.Addr) netip.Addr {
	if other.Is4() {
		return c.v4
	}
	return c.v6
}

// probeRetry is how often a datagram is sent again while no answer comes.
const probeRetry = 150 * time.Millisecond

// reach exchanges a message with the echo server at an address, or a ping with the host; nil says that both ways are
// open. It tries until ctx ends.
func (c *client) reach(ctx context.Context, network string, to netip.AddrPort) error {
	message := make([]byte, 32)
	_, _ = rand.Read(message) // never fails
	if network == "icmp" {
		return c.ping(ctx, to.Addr())
	}
	conn, err := c.stack.Dial(ctx, network, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		if _, err := conn.Write(message); err != nil {
			return err
		}
		if network == "udp" {
			_ = conn.SetReadDeadline(time.Now().Add(probeRetry)) // of a stack that has not closed
		}
		answer := make([]byte, len(message))
		_, err := io.ReadFull(conn, answer)
		switch {
		case err == nil && bytes.Equal(answer, message):
			return nil
		case err == nil:
			return fmt.Errorf("%s answered %x to %x", to, answer, message)
		case network == "tcp" || ctx.Err() != nil:
			return err
		}
	}
}

// ping sends echo requests until one is answered or ctx ends.
func (c *client) ping(ctx context.Context, to netip.Addr) error {
	id := uint16(c.pings.Add(1))
	answered := make(chan struct{}, 1)
	c.watch(func(packet []byte) {
		if isEchoReply(packet, to, id) {
			select {
			case answered <- struct{}{}:
			default:
			}
		}
	})
	for sequence := uint16(1); ; sequence++ {
		c.send(echoRequest(c.addr(to), to, id, sequence))
		select {
		case <-answered:
			return nil
		case <-time.After(probeRetry):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watch has f see what is delivered to the client, beside those who watch already.
func (c *client) watch(f func(packet []byte)) {
	for {
		old := c.watcher.Load()
		all := f
		if old != nil {
			all = func(packet []byte) {
				(*old)(packet)
				f(packet)
			}
		}
		if c.watcher.CompareAndSwap(old, &all) {
			return
		}
	}
}

// quiet waits until nothing has been delivered to the client for a while, and returns the bytes received by then.
func (c *client) quiet() uint64 {
	last, still := c.received.bytes.Load(), 0
	for still < 10 {
		time.Sleep(20 * time.Millisecond)
		now := c.received.bytes.Load()
		if still++; now != last {
			last, still = now, 0
		}
	}
	return last
}
