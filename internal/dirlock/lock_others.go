//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package dirlock

import (
	"errors"
	"fmt"
	"os"
)

func lockFile(*os.File) error {
	return fmt.Errorf("lock a file on this system: %w: a BSD, Linux, macOS or Windows is required", errors.ErrUnsupported)
}
