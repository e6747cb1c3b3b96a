//go:build !windows

package userspace

import "syscall"

// What the system's sockets say of a destination.
const (
	errConnRefused     = syscall.ECONNREFUSED
	errHostUnreachable = syscall.EHOSTUNREACH
	errNetUnreachable  = syscall.ENETUNREACH
	errAccess          = syscall.EACCES
	errPermission      = syscall.EPERM
)
