package sysctl

import (
	"fmt"
	"os"
)

// Writable returns nil if this process may write a parameter, which it does not; else an error that matches fs.ErrPermission,
// syscall.EROFS or fs.ErrNotExist.
func (t Tree) Writable(name string) error {
	f, err := os.OpenFile(t.path(name), os.O_WRONLY, 0)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("sysctl: open %s to write: %w", name, bare(err))
	}
	return nil
}
