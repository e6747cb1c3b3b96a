package daemontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// patience is how long anything may take that nobody holds up.
const patience = 60 * time.Second

// settings are a configuration, by the keys of docs/configuration.md.
type settings map[string]any

// with returns the settings with others, which win.
func (s settings) with(others settings) settings {
	all := settings{}
	maps.Copy(all, s)
	maps.Copy(all, others)
	return all
}

// yaml writes the settings as a file has them.
func (s settings) yaml() ([]byte, error) {
	root := map[string]any{}
	for key, value := range s {
		parts := strings.Split(key, ".")
		at := root
		for _, name := range parts[:len(parts)-1] {
			if at[name] == nil {
				at[name] = map[string]any{}
			}
			at = at[name].(map[string]any)
		}
		at[parts[len(parts)-1]] = value
	}
	return yaml.Marshal(root)
}

// site is where daemons live, one after the other: a directory with a configuration and the state.
type site struct {
	dir      string
	settings settings
	env      []string // beside PATH and HOME

	files       []*os.File // that a supervisor passes on
	listenNames string     // theirs (LISTEN_FDNAMES)
}

// name is what nodes are called.
const name = "fra-1"

// newSite makes a directory for daemons with the userspace dataplane.
func newSite(tb testing.TB, others settings) *site {
	tb.Helper()
	s := &site{dir: tb.TempDir()}
	s.settings = settings{
		"node.name": name, "node.state": s.path("state"), "node.dataplane": "userspace", "node.listen_port": 0,
		"node.endpoint": "127.0.0.1",
	}
	s.set(tb, others)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// socket is where the API is by default.
func (s *site) socket() string { return filepath.Join(s.dir, "state", "api.sock") }

// set changes the configuration: a daemon sees it when it starts, or reloads.
func (s *site) set(tb testing.TB, others settings) {
	tb.Helper()
	s.settings = s.settings.with(others)
	data, err := s.settings.yaml()
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(s.path("waylumed.yaml"), data, 0o600))
}

// command is a command of the program.
func (s *site) command(tb testing.TB, args ...string) *exec.Cmd {
	tb.Helper()
	path, err := program()
	require.NoError(tb, err)
	cmd := exec.Command(path, args...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GOTRACEBACK=all"}, s.env...)
	cmd.ExtraFiles = s.files
	return cmd
}

// waylumed runs a command to its end.
func (s *site) waylumed(tb testing.TB, args ...string) (status int, output string) {
	tb.Helper()
	cmd := s.command(tb, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		require.NoError(tb, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// daemon is a process that runs a node.
type daemon struct {
	*site
	cmd   *exec.Cmd
	log   *journal
	ended chan struct{} // closed when the process has ended
}

// journal is what a process writes.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// launch starts a daemon and does not wait for it.
func (s *site) launch(tb testing.TB) *daemon {
	tb.Helper()
	d := &daemon{site: s, log: &journal{}, ended: make(chan struct{})}
	d.cmd = s.command(tb, "run", "--config", s.path("waylumed.yaml"))
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if s.listenNames != "" { // a process is told its id by whoever becomes it
		script := fmt.Sprintf(`LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s exec "$0" "$@"`, len(s.files), s.listenNames)
		d.cmd.Args = append([]string{"sh", "-c", script, d.cmd.Path}, d.cmd.Args[1:]...)
		d.cmd.Path = "/bin/sh"
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(tb, d.cmd.Start())
	go func() {
		_ = d.cmd.Wait() // how it ended, its state says
		close(d.ended)
	}()
	tb.Cleanup(func() {
		d.kill()
		if tb.Failed() {
			text := d.log.String()
			tb.Logf("the daemon's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return d
}

// start starts a daemon and waits until it is ready.
func (s *site) start(tb testing.TB) *daemon {
	tb.Helper()
	d := s.launch(tb)
	d.waitReady(tb)
	return d
}

// waitReady waits for /readyz to say so, over the unix socket.
func (d *daemon) waitReady(tb testing.TB) {
	tb.Helper()
	client := d.unix()
	defer client.CloseIdleConnections()
	d.until(tb, "ready", func() bool {
		res, err := client.Get("http://node/readyz")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
}

// until waits until the daemon has come to something.
func (d *daemon) until(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-d.ended:
			if !done() {
				require.Failf(tb, "the daemon has ended", "before: %s\n%s", what, d.log)
			}
			return
		default:
		}
		require.Truef(tb, time.Now().Before(deadline), "the daemon has not come to this: %s\n%s", what, d.log)
	}
}

// logs waits until the log has a text.
func (d *daemon) logs(tb testing.TB, text string) {
	tb.Helper()
	d.until(tb, "logging "+text, func() bool { return strings.Contains(d.log.String(), text) })
}

func (d *daemon) signal(tb testing.TB, sig os.Signal) {
	tb.Helper()
	require.NoError(tb, d.cmd.Process.Signal(sig))
}

// kill kills the process, and returns when it is gone.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
}

// wait waits for the process to end, and returns its exit status.
func (d *daemon) wait(tb testing.TB) int {
	tb.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		require.Failf(tb, "the daemon has not ended", "%s", d.log)
	}
	return d.cmd.ProcessState.ExitCode()
}

// stop ends the process in order.
func (d *daemon) stop(tb testing.TB) {
	tb.Helper()
	d.signal(tb, syscall.SIGTERM)
	require.Zero(tb, d.wait(tb), d.log)
}

// unix is a client over the socket in the state's directory; its URLs begin with http://node.
func (s *site) unix() *http.Client { return unixClient(s.socket()) }

func unixClient(path string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

// port is one of TCP that nobody uses.
func port(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	require.NoError(tb, l.Close())
	return l.Addr().(*net.TCPAddr).Port
}

// loopback is an address of TCP that nobody uses.
func loopback(tb testing.TB) string { return fmt.Sprintf("127.0.0.1:%d", port(tb)) }
