package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode"
)

// inNamespace is set in the child that TestPingSockets runs itself in.
const inNamespace = "WAYLUME_TEST_PING_NAMESPACE"

// TestPingSockets pings through the system's own ping sockets. Whether a process may open them is up to a sysctl of its
// network namespace, so the test runs itself in namespaces of its own, where it may set that: no privilege is needed.
func TestPingSockets(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		pingInNamespace(t)
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestPingSockets$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		testutil.Require(t, fmt.Errorf("needs user and network namespaces: %w", err))
	}
	require.NoError(t, err, "%s", out)
}

func pingInNamespace(t *testing.T) {
	require.NotEmpty(t, echoLimitations(), "a new namespace allows nobody ping sockets")
	refused := newRig(t, Config{}, wgnode.State{})
	require.Contains(t, refused.info.Limitations[1], "ping_group_range")

	require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0o600))
	loopbackUp(t)
	require.Empty(t, echoLimitations())
	r := newRig(t, Config{Dial: func(ctx context.Context, flow Flow) (net.Conn, error) {
		to := netip.MustParseAddr("127.0.0.1")
		if flow.Destination.Addr().Is6() {
			to = netip.IPv6Loopback()
		}
		flow.Destination = netip.AddrPortFrom(to, 0)
		return dialHost(ctx, flow)
	}}, wgnode.State{})
	p := r.addPeer(nil)
	for _, addr := range []netip.Addr{web4, web6} {
		ping(t, p, addr)
	}
}

// loopbackUp brings the namespace's loopback interface up, as the kernel does not by itself.
func loopbackUp(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	require.NoError(t, err)
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}
