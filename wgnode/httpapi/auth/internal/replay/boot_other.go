//go:build !linux

package replay

// BootID names the boot of the system. Here nothing does.
func BootID() (string, error) { return "", nil }
