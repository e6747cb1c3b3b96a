package userspace

import "net"

// readFunc waits for bytes from the host and returns them in a buffer of the pool, which is the caller's to put back. The
// buffer is nil when there is nothing in it.
type readFunc func() (buf *[]byte, n int, err error)

// newHostReader returns the reader of a connection, which reads at most limit bytes at a time, no more than largeBuffer. For the
// sockets of package net it takes a buffer only when bytes are there, so that an idle connection holds none; any other connection,
// which only its own Read may read, holds one.
func newHostReader(host net.Conn, pool *buffers, limit int) readFunc {
	if read, ok := newSocketReader(host, pool, limit); ok {
		return read
	}
	return func() (*[]byte, int, error) {
		buf := pool.get()
		n, err := host.Read((*buf)[:limit])
		return buf, n, err
	}
}

// readBatch is how many datagrams are read at a time, at most.
const readBatch = 64

// newDatagramReader returns a function that waits for datagrams from the host, gives each to take, which must not keep it, and then
// returns. The error is what came after them.
func newDatagramReader(host net.Conn, pool *buffers, take func([]byte)) func() error {
	if socket, ok := host.(*net.UDPConn); ok {
		if read, ok := newDatagramSocketReader(socket, pool, take); ok {
			return read
		}
	}
	return func() error {
		buf := pool.get()
		defer pool.put(buf)
		n, err := host.Read(*buf)
		if err == nil {
			take((*buf)[:n])
		}
		return err
	}
}
