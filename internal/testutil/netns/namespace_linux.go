package netns

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Namespace is another host: a network namespace beside the test's own. Nil is the test's own.
type Namespace struct {
	file *os.File
}

// New makes a namespace whose loopback is up. It ends with the test, unless a socket or a process in it outlives that.
func New(tb testing.TB) *Namespace {
	tb.Helper()
	Require(tb)
	n := new(Namespace)
	require.NoError(tb, onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if n.file, err = current(); err != nil {
			return err
		}
		return setUp("lo")
	}))
	tb.Cleanup(func() { require.NoError(tb, n.file.Close()) })
	return n
}

// Do runs f in the namespace: sockets that it opens, and programs that it starts, are and stay there, goroutines that it
// starts are not. It fails the test when the namespace cannot be entered or f returns an error. F must not end the test.
func (n *Namespace) Do(tb testing.TB, f func() error) {
	tb.Helper()
	if n == nil {
		require.NoError(tb, f())
		return
	}
	require.NoError(tb, onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	}))
}

// FD is the namespace's descriptor, as netlink.Config.NetNS and rtnetlink.LinkAttributes take it; 0 for the test's own.
func (n *Namespace) FD() int {
	if n == nil {
		return 0
	}
	return int(n.file.Fd())
}

// onThread runs f on a thread of its own, which ends with it: no other goroutine ever runs in the namespace that f enters.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		result <- f()
	}()
	return <-result
}

// current opens the namespace of the calling thread.
func current() (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the thread's network namespace: %w", err)
	}
	return f, nil
}
