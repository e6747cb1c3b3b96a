package userspace

import "golang.org/x/sys/windows"

// What the system's sockets say of a destination.
const (
	errConnRefused     = windows.WSAECONNREFUSED
	errHostUnreachable = windows.WSAEHOSTUNREACH
	errNetUnreachable  = windows.WSAENETUNREACH
	errAccess          = windows.WSAEACCES
	errPermission      = windows.ERROR_ACCESS_DENIED
)

// noSocket are why the system has no socket to give; errNoPort is why none of IPv4 can be bound.
func noSocket() []error { return []error{windows.WSAEMFILE, windows.WSAENOBUFS} }

const errNoPort = windows.WSAEADDRNOTAVAIL
