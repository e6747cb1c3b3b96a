package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/service"
)

// supervise is a supervisor's side: what the process tells it, a message each.
func supervise(t *testing.T) (next func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() []string {
		buf := make([]byte, 4096)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, err := conn.Read(buf)
		require.NoError(t, err)
		return strings.Split(string(buf[:n]), "\n")
	}
}

func TestNotify(t *testing.T) {
	next := supervise(t)
	s, err := service.New(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.True(t, s.Supervised())
	s.Ready("2 peers\nREADY=0")
	require.Equal(t, []string{"READY=1", "STATUS=2 peers READY=0"}, next(), "one assignment, whatever the text")
	s.Status("draining")
	require.Equal(t, []string{"STATUS=draining"}, next())
	s.Reloading()
	got := next()
	require.Equal(t, "RELOADING=1", got[0])
	require.Regexp(t, `^MONOTONIC_USEC=\d+$`, got[1])
	s.Stopping(90 * time.Second)
	require.Equal(t, []string{"STOPPING=1", "EXTEND_TIMEOUT_USEC=90000000"}, next())
}

// TestNobody has no supervisor: nothing is told, and nothing is wrong.
func TestNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	var log bytes.Buffer
	s, err := service.New(slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.False(t, s.Supervised())
	s.Ready("well")
	s.Watch(t.Context(), func(context.Context) error { panic("nobody asks") })
	require.Empty(t, log.String())
}

// TestWatchdog has a watchdog that hears of a process that is well, not of one that is not, and again.
func TestWatchdog(t *testing.T) {
	next := supervise(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	var log bytes.Buffer
	s, err := service.New(slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	asked := 0
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Watch(ctx, func(context.Context) error {
			asked++
			if asked == 2 {
				return errors.New("the node hangs")
			}
			return nil
		})
	}()
	require.Equal(t, []string{"WATCHDOG=1"}, next())
	require.Equal(t, []string{"WATCHDOG=1"}, next())
	cancel()
	<-ended
	require.GreaterOrEqual(t, asked, 3)
	require.Contains(t, log.String(), "the node hangs")
}

func TestBadWatchdog(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	_, err := service.New(slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "WATCHDOG_USEC")
}

// childEnv makes this test a daemon with sockets that were open before.
const childEnv = "WAYLUME_TEST_SOCKETS"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	// Whoever starts a daemon knows its process ID; a test cannot say so beforehand.
	if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
		panic(err)
	}
	first, err := service.Listeners()
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	second, err := service.Listeners()
	if err != nil || len(second) > 0 {
		panic(fmt.Sprint("a second call has sockets: ", second, err))
	}
	var lines []string
	for name, all := range first {
		for _, l := range all {
			lines = append(lines, name+" "+l.Addr().Network()+" "+l.Addr().String())
		}
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
}

func TestListeners(t *testing.T) {
	listen := func(network, addr string) (*os.File, string) {
		l, err := net.Listen(network, addr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		f, err := l.(interface{ File() (*os.File, error) }).File()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		return f, l.Addr().String()
	}
	run := func(names string, files ...*os.File) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=1", "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles = files
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	unix, _ := listen("unix", path)
	tcp, addr := listen("tcp", "127.0.0.1:0")
	require.Equal(t, "api unix "+path+"\nmetrics tcp "+addr, run("api:metrics", unix, tcp))

	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, packets.Close()) }()
	f, err := packets.(*net.UDPConn).File()
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.Contains(t, run("api:odd", tcp, f), `the socket "odd" that the supervisor has opened`)
}
