//go:build unix

package keyset

import (
	"fmt"
	"os"
)

// private checks that nobody but its owner and its group may use a file.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o027 != 0 {
		return fmt.Errorf("%s: %w: its mode is %04o: if nobody has read the secret, run: chmod 600 %s",
			path, ErrExposed, info.Mode().Perm(), path)
	}
	return nil
}
