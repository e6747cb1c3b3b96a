package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// system is the kernel's name and release.
func system() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return runtime.GOOS
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
}
