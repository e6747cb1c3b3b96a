//go:build unix

package userspace

import (
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// newSocketReader reads the TCP sockets of package net, and that type alone: one that embeds them may have a Read of its own.
func newSocketReader(host net.Conn, pool *buffers, limit int) (readFunc, bool) {
	socket, ok := host.(*net.TCPConn)
	if !ok {
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
			n, failed = readAgain(fd, (*buf)[:limit])
			if errors.Is(failed, unix.EAGAIN) {
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
		case n == 0:
			err = io.EOF
		}
		return buf, max(n, 0), err
	}, true
}

// newDatagramSocketReader reads the UDP sockets of package net. It takes a buffer only when datagrams are there.
func newDatagramSocketReader(socket *net.UDPConn, pool *buffers, take func([]byte)) (func() error, bool) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, false
	}
	return func() error {
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			buf := pool.get()
			defer pool.put(buf)
			for i := range readBatch {
				var n int
				if n, failed = readAgain(fd, *buf); errors.Is(failed, unix.EAGAIN) {
					failed = nil
					return i > 0
				}
				if failed != nil {
					return true
				}
				take((*buf)[:n])
			}
			return true
		})
		if err == nil && failed != nil {
			err = os.NewSyscallError("read", failed)
		}
		return err
	}, true
}

// readAgain reads, again when a signal came between.
func readAgain(fd uintptr, b []byte) (n int, err error) {
	for {
		if n, err = unix.Read(int(fd), b); err != unix.EINTR {
			return n, err
		}
	}
}
