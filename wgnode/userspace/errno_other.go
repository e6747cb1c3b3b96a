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

// noSocket are why the system has no socket to give; errNoPort is why none of IPv4 can be bound.
func noSocket() []error {
	return []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}
}

const errNoPort = syscall.EADDRNOTAVAIL
