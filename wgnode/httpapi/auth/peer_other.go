//go:build !linux

package auth

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// peerUID says that this system is not asked.
func peerUID(*net.UnixConn) (uint32, error) {
	return 0, fmt.Errorf("the user at the other end of a unix socket on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
