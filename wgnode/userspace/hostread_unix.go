//go:build unix

package userspace

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newSocketReader reads the sockets of package net, and those types alone: one that embeds them may have a Read of its own.
func newSocketReader(host net.Conn, pool *buffers) (readFunc, bool) {
	var socket syscall.Conn
	stream := false
	switch c := host.(type) {
	case *net.TCPConn:
		socket, stream = c, true
	case *net.UDPConn:
		socket = c
	default:
		return nil, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, false
	}
	return func() (buf *[]byte, n int, err error) {
		var failed error
		err = raw.Read(func(fd uintptr) bool {
			buf = pool.get()
			for {
				if n, failed = unix.Read(int(fd), *buf); failed != unix.EINTR {
					break
				}
			}
			if failed == unix.EAGAIN {
				pool.put(buf)
				buf = nil
				return false
			}
			return true
		})
		switch {
		case err != nil:
		case failed != nil:
			err = os.NewSyscallError("read", failed)
		case n == 0 && stream:
			err = io.EOF
		}
		return buf, max(n, 0), err
	}, true
}
