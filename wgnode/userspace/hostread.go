package userspace

import (
	"net"
)

// readFunc waits for bytes from the host and returns them in a buffer of the pool, which is the caller's to put back. The
// buffer is nil when there is nothing in it.
type readFunc func() (buf *[]byte, n int, err error)

// newHostReader returns the reader of a connection. For the sockets of package net it takes a buffer only when bytes are
// there, so that an idle connection holds none; any other connection, which only its own Read may read, holds one.
func newHostReader(host net.Conn, pool *buffers) readFunc {
	if read, ok := newSocketReader(host, pool); ok {
		return read
	}
	return func() (*[]byte, int, error) {
		buf := pool.get()
		n, err := host.Read(*buf)
		return buf, n, err
	}
}
