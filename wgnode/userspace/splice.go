package userspace

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// errReset says that one end reset the connection; the other is then reset too.
var errReset = errors.New("userspace: connection reset")

// splice moves bytes both ways until both directions have ended, and carries over how each ended: an end of file as a
// half-close, anything else as a reset.
func splice(f *tcpFlow, ep tcpip.Endpoint, queue *waiter.Queue, host net.Conn, pool *buffers) {
	up := make(chan error, 1)
	go func() {
		err := toHost(f, ep, queue, host, pool)
		if err != nil {
			f.abort()
		}
		up <- err
	}()
	err := fromHost(f, ep, queue, host, pool)
	if err != nil {
		f.abort()
	}
	if err = errors.Join(err, <-up); err == nil {
		ep.Close()
		_ = host.Close() // both directions were shut down cleanly
	}
}

// toHost copies what the peer sends to the host.
func toHost(f *tcpFlow, ep tcpip.Endpoint, queue *waiter.Queue, host net.Conn, pool *buffers) error {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	for {
		buf := pool.get()
		w := tcpip.SliceWriter(*buf)
		result, terr := ep.Read(&w, tcpip.ReadOptions{})
		switch terr.(type) {
		case nil:
			_, err := host.Write((*buf)[:result.Count])
			pool.put(buf)
			if err != nil {
				return err
			}
			f.touch()
		case *tcpip.ErrWouldBlock:
			pool.put(buf)
			<-ready
		case *tcpip.ErrClosedForReceive:
			pool.put(buf)
			// That a connection was reset the stack says once, and may have told the other direction, which aborts it then.
			if tcp.EndpointState(ep.State()) == tcp.StateError || f.isAborted() {
				return errReset
			}
			return closeWrite(host)
		default:
			pool.put(buf)
			return errReset
		}
	}
}

// closeWrite passes on the peer's half-close; a connection that knows none is closed whole, which ends the other
// direction too.
func closeWrite(host net.Conn) error {
	if c, ok := host.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return host.Close()
}

// fromHost copies what the host receives to the peer.
func fromHost(f *tcpFlow, ep tcpip.Endpoint, queue *waiter.Queue, host net.Conn, pool *buffers) error {
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	read := newHostReader(host, pool, f.burst)
	var payload bytes.Reader
	for {
		buf, n, err := read()
		if n > 0 {
			payload.Reset((*buf)[:n])
			if werr := writeAll(ep, &payload, ready); werr != nil {
				pool.put(buf)
				return werr
			}
			f.touch()
		}
		if buf != nil {
			pool.put(buf)
		}
		switch {
		case errors.Is(err, io.EOF):
			if terr := ep.Shutdown(tcpip.ShutdownWrite); terr != nil {
				return errReset
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// writeAll writes payload to the peer, waiting while its window or buffer is full.
func writeAll(ep tcpip.Endpoint, payload *bytes.Reader, ready <-chan struct{}) error {
	for payload.Len() > 0 {
		switch _, terr := ep.Write(payload, tcpip.WriteOptions{}); terr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-ready
		default:
			return errReset
		}
	}
	return nil
}

func (f *tcpFlow) touch() { f.active.Store(time.Now().UnixNano()) }
