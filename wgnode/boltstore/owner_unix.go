//go:build unix

package boltstore

import (
	"os"
	"syscall"
)

// takeOwner gives a file the owner of another, so that the user that a node runs as can use what root restored.
func takeOwner(path, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return os.Chown(path, int(st.Uid), int(st.Gid))
}
