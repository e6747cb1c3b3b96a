package daemontest

import (
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// supervisor is what a daemon tells how it is (sd_notify(3)).
type supervisor struct{ conn *net.UnixConn }

// supervise has the daemons of a site be told of a supervisor.
func supervise(t *testing.T, s *site) supervisor {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	s.env = append(s.env, "NOTIFY_SOCKET="+s.path("notify"))
	return supervisor{conn}
}

// next is the next message, a line each; nil: there is none yet.
func (s supervisor) next(t *testing.T, within time.Duration) []string {
	t.Helper()
	buf := make([]byte, 4096)
	require.NoError(t, s.conn.SetReadDeadline(time.Now().Add(within)))
	n, err := s.conn.Read(buf)
	if os.IsTimeout(err) {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(string(buf[:n]), "\n")
}

// until reads messages until one says something, and returns it. The watchdog's are counted.
func (s supervisor) until(t *testing.T, what string) (message []string, watchdog int) {
	t.Helper()
	for {
		message = s.next(t, patience)
		require.NotNil(t, message, "no %s", what)
		switch {
		case slices.Contains(message, what):
			return message, watchdog
		case slices.Contains(message, "WATCHDOG=1"):
			watchdog++
		default:
			require.NotContains(t, message, "READY=1", "before %s", what)
		}
	}
}

// TestSupervised has a supervisor told when requests are answered, when a reload begins and ends, that all is well, and of the end.
func TestSupervised(t *testing.T) {
	s := newSite(t, nil)
	supervisor := supervise(t, s)
	s.env = append(s.env, "WATCHDOG_USEC=400000")
	d := s.launch(t)
	ready, _ := supervisor.until(t, "READY=1")
	require.Regexp(t, `^STATUS=0 peers active`, ready[1])
	must[api.Health](t, s.unix(), http.StatusOK, http.MethodGet, onSocket+"/readyz", nil)
	must[api.CreatedPeer](t, s.unix(), http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{})

	for range 3 {
		supervisor.until(t, "WATCHDOG=1")
	}
	d.signal(t, syscall.SIGHUP)
	message, _ := supervisor.until(t, "RELOADING=1")
	require.Regexp(t, `^MONOTONIC_USEC=\d+$`, message[1])
	message, _ = supervisor.until(t, "READY=1")
	require.Regexp(t, `^STATUS=1 peers active`, message[1])

	d.signal(t, syscall.SIGTERM)
	message, _ = supervisor.until(t, "STOPPING=1")
	require.Equal(t, "EXTEND_TIMEOUT_USEC=60000000", message[1])
	require.Zero(t, d.wait(t), d.log)
}

// passOn has the daemons of a site get sockets that are open before they are. A shell puts its own process id, which the daemon
// then has, into the environment (sd_listen_fds(3)).
func (s *site) passOn(t *testing.T, names string, listeners ...interface{ File() (*os.File, error) }) {
	t.Helper()
	for _, l := range listeners {
		file, err := l.File()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, file.Close()) })
		s.files = append(s.files, file)
	}
	s.listenNames = names
}

// TestActivated has a supervisor open the API's socket and that of the metrics: they outlive the daemon.
func TestActivated(t *testing.T) {
	s := newSite(t, nil)
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path("given.sock"), Net: "unix"})
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Close()) }()
	unix.SetUnlinkOnClose(false)
	admin, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer func() { require.NoError(t, admin.Close()) }()
	s.passOn(t, "api:admin", unix, admin)
	client := unixClient(s.path("given.sock"))
	for range 2 { // whoever asks before the daemon is there waits
		d := s.launch(t)
		must[api.Health](t, client, http.StatusOK, http.MethodGet, onSocket+"/readyz", nil)
		require.Contains(t, string(get(t, "http://"+admin.Addr().String()+"/metrics")), "waylume_peers")
		require.FileExists(t, s.socket(), "what the configuration names is opened beside it")
		client.CloseIdleConnections()
		d.stop(t)
		require.FileExists(t, s.path("given.sock"))
	}
}

// TestActivatedOpen has a supervisor open a TCP socket for all the world, and no TLS: that is refused, as it is in the configuration.
func TestActivatedOpen(t *testing.T) {
	s := newSite(t, nil)
	open, err := net.ListenTCP("tcp", &net.TCPAddr{})
	require.NoError(t, err)
	defer func() { require.NoError(t, open.Close()) }()
	s.passOn(t, "api", open)
	d := s.launch(t)
	require.Equal(t, 1, d.wait(t), d.log)
	require.Contains(t, d.log.String(), "api.tls.cert_file")
}
