//go:build !linux

package main

import "runtime"

// system is the system's name.
func system() string { return runtime.GOOS }
