//go:build !unix

package userspace

import "net"

// newSocketReader knows no way here to wait for bytes without a buffer in hand.
func newSocketReader(net.Conn, *buffers) (readFunc, bool) { return nil, false }
