//go:build unix

package supabase

import (
	"fmt"
	"io/fs"
)

// private checks that nobody but its owner may use a file.
func private(path string, has fs.FileMode) error {
	if has.Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("%w: its mode is %04o: if nobody has read it, run: chmod 600 %s; else rotate the credential, too", ErrExposed,
		has.Perm(), path)
}
