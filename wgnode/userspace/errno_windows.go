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
