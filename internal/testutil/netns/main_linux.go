package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Main runs the tests in namespaces of their own and returns the code to exit with. A TestMain calls it and does nothing
// before. Flags are added to those of the command line and take the place of theirs: "-test.parallel=1" for tests that share
// the namespace one after the other.
func Main(m *testing.M, flags ...string) int {
	if os.Getenv(stateVariable) == inside {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "prepare the network namespace:", err)
			return 1
		}
		// This is the process's first thread, unless the scheduler was quick. It must not enter another namespace, as
		// /proc/self/net is that of the first thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return m.Run()
	}
	code, err := again(arguments(os.Args[1:], flags))
	if err == nil {
		return code
	}
	// Only here, before anything else runs, and for Require, which says it in each test.
	_ = os.Setenv(stateVariable, fmt.Sprintf("needs a network namespace of its own, as root has or where user namespaces are allowed: %v", err))
	return m.Run()
}

// arguments puts flags before those of the command line that do not set the same.
func arguments(args, flags []string) []string {
	return append(slices.Clone(flags), slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return slices.ContainsFunc(flags, func(flag string) bool {
			name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
			return strings.HasPrefix(arg, "-") && strings.HasPrefix(strings.TrimLeft(arg, "-"), name+"=")
		})
	})...)
}

// again runs this program in new namespaces, and returns the code that it exits with. It fails only if it did not begin.
func again(args []string) (code int, err error) {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stateVariable+"="+inside)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL, // whoever kills this process means the tests
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // Pdeathsig is about the thread that started the child
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals: // go test's time-out is a SIGQUIT to this process alone, and the stacks wanted are the child's
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		fmt.Fprintln(os.Stderr, "wait for the tests in their namespace:", err)
		return 1, nil
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		fmt.Fprintln(os.Stderr, "the tests in their namespace were ended by a signal:", status.Signal())
		const bySignal = 128 // as shells have it
		return bySignal + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// prepare makes the new namespaces fit to be lived in.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	// A sysfs shows the network namespace of its mounter. In a container it may not be mounted; then /sys/class/net shows
	// another's links, which is worse than none.
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		if err := unix.Mount("tmpfs", "/sys/class/net", "tmpfs", unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("hide the machine's links in /sys: %w", err)
		}
	}
	// Tools keep names of namespaces and locks there: ip netns, iptables.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount an empty /run: %w", err)
	}
	return setUp("lo")
}

// setUp sets a link of the calling thread's namespace up, over an ioctl, which every kernel has.
func setUp(link string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq(link)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("read the flags of %s: %w", link, err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("set %s up: %w", link, err)
	}
	return nil
}
