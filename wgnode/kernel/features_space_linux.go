package kernel

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread in a network namespace of its own, with nothing in it but a loopback that is down. Both end
// with f. It returns f's error, or says why there can be no namespace.
func inNamespace(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The runtime does not end the process's first thread, which is also the one that /proc/self shows. While it is
			// held here, another goroutine has another thread.
			defer runtime.UnlockOSThread()
			result <- inNamespace(f)
			return
		}
		// Never unlocked: the thread ends with the goroutine, and nobody else is ever in the namespace.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			if errors.Is(err, unix.EPERM) {
				err = fmt.Errorf("%w: run as root or with CAP_SYS_ADMIN", err)
			}
			result <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
