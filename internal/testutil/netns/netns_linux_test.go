package netns

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
)

func TestArguments(t *testing.T) {
	require.Equal(t, []string{"-test.parallel=1", "-test.v=true", "--", "-test.parallel"},
		arguments([]string{"-test.v=true", "-test.parallel=4", "--test.parallel=2", "--", "-test.parallel"}, []string{"-test.parallel=1"}))
	require.Equal(t, []string{"-x"}, arguments([]string{"-x"}, nil))
}

// Two other hosts, and the test's own, talk over links between each pair of them.
func TestHosts(t *testing.T) {
	left, right := New(t), New(t)
	prefix := netip.MustParsePrefix
	Veth(t, End{Name: "to-left", Addrs: []netip.Prefix{prefix("10.1.0.1/24"), prefix("fd01::1/64")}},
		End{Name: "up", Namespace: left, Addrs: []netip.Prefix{prefix("10.1.0.2/24"), prefix("fd01::2/64")}})
	Veth(t, End{Name: "up", Namespace: right, Addrs: []netip.Prefix{prefix("10.2.0.2/24")}},
		End{Name: "to-right", Addrs: []netip.Prefix{prefix("10.2.0.1/24")}})
	Veth(t, End{Name: "across", Namespace: left, Addrs: []netip.Prefix{prefix("10.3.0.1/24")}},
		End{Name: "across", Namespace: right, Addrs: []netip.Prefix{prefix("10.3.0.2/24")}})
	AddRoute(t, left, "up", netip.MustParsePrefix("10.2.0.0/24"), netip.MustParseAddr("10.1.0.1"))
	AddRoute(t, left, "across", netip.MustParsePrefix("10.99.0.0/16"), netip.Addr{})

	talk := func(server *Namespace, addr string, client *Namespace) {
		t.Helper()
		var l net.Listener
		server.Do(t, func() (err error) {
			l, err = net.Listen("tcp", addr)
			return err
		})
		defer l.Close()
		var c net.Conn
		client.Do(t, func() (err error) {
			c, err = net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
			return err
		})
		require.NoError(t, c.Close())
	}
	talk(left, "10.1.0.2:0", nil)
	talk(left, "[fd01::2]:0", nil)
	talk(nil, "10.1.0.1:0", left)
	talk(nil, "10.2.0.1:0", right)
	talk(nil, "10.2.0.1:0", left)
	talk(right, "10.3.0.2:0", left)

	DeleteLink(t, nil, "to-left")
	DeleteLink(t, nil, "to-left")
	left.Do(t, func() error {
		if _, err := net.InterfaceByName("up"); err == nil {
			return errors.New("the other end is still there")
		}
		return nil
	})
	require.NotZero(t, left.FD())
	require.Zero(t, (*Namespace)(nil).FD())
}

// childVariable makes TestChild do what its value says.
const childVariable = "WAYLUME_TEST_NETNS_CHILD"

func TestChild(t *testing.T) {
	switch os.Getenv(childVariable) {
	case "fail":
		t.Error("as asked")
	case "exit":
		os.Exit(7)
	case "die":
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "wait":
		os.Stdout.WriteString("waiting\n") //nolint:errcheck // the parent sees to it
		select {}
	default:
		t.Skip("only as another test's child")
	}
}

// child starts TestChild as go test starts a package's tests.
func child(t *testing.T, do string) *exec.Cmd {
	t.Helper()
	Require(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestChild$", "-test.v")
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, stateVariable+"=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, childVariable+"="+do)
	return cmd
}

// Exit codes, signals and output pass through.
func TestThrough(t *testing.T) {
	for do, code := range map[string]int{"fail": 1, "exit": 7, "die": 128 + int(unix.SIGKILL)} {
		out, err := child(t, do).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.Equal(t, code, exit.ExitCode(), "%s: %s", do, out)
		require.Contains(t, string(out), "RUN   TestChild")
	}
	out, err := child(t, "").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "only as another test's child")

	cmd := child(t, "wait")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	var seen strings.Builder
	for buf := make([]byte, 256); !strings.Contains(seen.String(), "waiting"); {
		n, err := stdout.Read(buf)
		require.NoError(t, err)
		seen.Write(buf[:n])
	}
	require.NoError(t, cmd.Process.Signal(unix.SIGQUIT))
	rest, err := io.ReadAll(stdout)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	require.Contains(t, seen.String()+string(rest)+stderr.String(), "TestChild", "the stacks of the tests")
	require.Contains(t, stderr.String(), "SIGQUIT")
}

// A TUN carries packets both ways as they are.
func TestOpenTUN(t *testing.T) {
	file := OpenTUN(t, "wire", 1400, 100)
	AddAddr(t, nil, "wire", netip.MustParsePrefix("10.4.0.1/24"))
	AddAddr(t, nil, "wire", netip.MustParsePrefix("fd04::1/64"))
	link, err := net.InterfaceByName("wire")
	require.NoError(t, err)
	require.Equal(t, 1400, link.MTU)
	conn, err := net.Dial("udp", "10.4.0.2:9")
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("ping"))
	require.NoError(t, err)
	packet := make([]byte, 1500)
	n, err := file.Read(packet)
	require.NoError(t, err)
	packet = packet[:n]
	require.Equal(t, byte(0x45), packet[0])
	require.Equal(t, "ping", string(packet[28:]))

	// The same with source and destination exchanged, which no checksum notices.
	src, dst := [4]byte(packet[12:]), [4]byte(packet[16:])
	from, to := [2]byte(packet[20:]), [2]byte(packet[22:])
	copy(packet[12:], dst[:])
	copy(packet[16:], src[:])
	copy(packet[20:], to[:])
	copy(packet[22:], from[:])
	_, err = file.Write(packet)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	answer := make([]byte, 100)
	n, err = conn.Read(answer)
	require.NoError(t, err)
	require.Equal(t, "ping", string(answer[:n]))

	done := make(chan error)
	go func() {
		_, err := file.Read(make([]byte, 1500))
		done <- err
	}()
	require.NoError(t, file.Close())
	require.Error(t, <-done)
	_, err = net.InterfaceByName("wire")
	require.Error(t, err)
}

// A command outside is in the namespace that this one was made from, in a directory that is the same.
func TestOutside(t *testing.T) {
	testutil.RequireRoot(t)
	Require(t)
	testutil.RequireTool(t, "nsenter", "util-linux")
	dir := t.TempDir()
	command := Outside(dir, "sh", "-c", "pwd; readlink /proc/self/ns/net")
	cmd := exec.Command(command[0], command[1:]...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Fields(string(out))
	require.Len(t, lines, 2)
	require.Equal(t, dir, lines[0])
	here, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.NotEqual(t, here, lines[1])
}
