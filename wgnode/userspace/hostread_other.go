//go:build !unix

package userspace

import "net"

// newSocketReader knows no way here to wait for bytes without a buffer in hand.
func newSocketReader(net.Conn, *buffers, int) (readFunc, bool) { return nil, false }

// newDatagramSocketReader knows none, either.
func newDatagramSocketReader(*net.UDPConn, *buffers, func([]byte)) (func() error, bool) {
	return nil, false
}
