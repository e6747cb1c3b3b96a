package netns

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// OpenTUN makes a TUN in the test's namespace, up, for IP packets of at most mtu bytes, with room for queue packets that the
// kernel has sent. Each read is one packet that the kernel sent, whole and as it would be on a wire, and each write is one
// that it receives: there is no header before it and nothing is offloaded, so that packets can be counted. The link goes when
// the file is closed.
func OpenTUN(tb testing.TB, name string, mtu, queue int) *os.File {
	tb.Helper()
	Require(tb)
	file, err := openTUN(name, mtu, queue)
	require.NoError(tb, err)
	return file
}

func openTUN(name string, mtu, queue int) (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) // so that Close ends a Read
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := makeTUN(fd, name, mtu, queue); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make the TUN %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), path), nil // only now, as a TUN with no link cannot be polled
}

func makeTUN(fd int, name string, mtu, queue int) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	// An address of its own choice would come, and speak, at a time of its own choice.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/addr_gen_mode", []byte("1"), 0); err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	for _, set := range []struct {
		request uint
		value   int
	}{{unix.SIOCSIFMTU, mtu}, {unix.SIOCSIFTXQLEN, queue}} {
		req.SetUint32(uint32(set.value))
		if err := unix.IoctlIfreq(socket, set.request, req); err != nil {
			return fmt.Errorf("ioctl %#x with %d: %w", set.request, set.value, err)
		}
	}
	return setUp(name)
}
