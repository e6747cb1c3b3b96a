package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Stop shuts the server down in order. Connections are cut.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, s.run(tb.Context(), "pg_ctl", "stop", "--pgdata", s.data(), "--mode", "fast", "--wait"))
}

// Kill ends the server's main process with SIGKILL. The others end themselves when they see that.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	pid, err := s.pid()
	require.NoError(tb, err)
	process, err := os.FindProcess(pid)
	require.NoError(tb, err)
	require.NoError(tb, process.Kill())
	require.Eventually(tb, func() bool { return !s.accepts(tb.Context()) }, patience, 10*time.Millisecond, "PostgreSQL is still there")
}

// Restart starts a server that was stopped or killed, at the port that it had; one that runs is stopped before.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if s.accepts(tb.Context()) {
		s.Stop(tb)
	}
	// Processes of one that was killed may still hold its shared memory.
	var err error
	require.Eventually(tb, func() bool {
		err = s.launch(tb.Context())
		return err == nil
	}, patience, 100*time.Millisecond, "PostgreSQL does not start again")
	require.NoError(tb, err)
}

// Reload has the server take other settings, of those that need no restart.
func (s *Server) Reload(tb testing.TB, settings map[string]string) {
	tb.Helper()
	maps.Copy(s.settings, settings)
	require.NoError(tb, s.configure())
	require.NoError(tb, s.run(tb.Context(), "pg_ctl", "reload", "--pgdata", s.data()))
}

// launch starts the server, and returns when it answers.
func (s *Server) launch(ctx context.Context) error {
	if err := s.configure(); err != nil {
		return err
	}
	err := s.run(ctx, "pg_ctl", "start", "--pgdata", s.data(), "--log", s.LogFile(), "--wait",
		"--timeout", strconv.Itoa(int(patience.Seconds())))
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, s.logEnd())
	}
	return nil
}

// configure writes the settings, beside those of initdb.
func (s *Server) configure() error {
	var b strings.Builder
	for key, value := range s.settings {
		fmt.Fprintf(&b, "%s = '%s'\n", key, strings.ReplaceAll(value, "'", "''"))
	}
	fmt.Fprintf(&b, "port = %d\nunix_socket_directories = '%s'\n", s.port, s.dir)
	return s.programs.user.writeFile(filepath.Join(s.data(), "postgresql.auto.conf"), b.String())
}

// run executes one of PostgreSQL's programs to its end.
func (s *Server) run(ctx context.Context, program string, args ...string) (err error) {
	cmd := s.programs.user.command(ctx, filepath.Join(s.programs.dir, program), args...)
	cmd.Dir = s.dir
	// A file, since the server inherits what pg_ctl has: the end of a pipe would not come.
	output, err := os.CreateTemp("", "waylume-pg-output-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, output.Close(), os.Remove(output.Name())) }()
	cmd.Stdout, cmd.Stderr = output, output
	if err = cmd.Run(); err != nil {
		said, readErr := os.ReadFile(output.Name())
		err = errors.Join(fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said)), readErr)
	}
	return err
}

// pid is that of the server's main process.
func (s *Server) pid() (int, error) {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(line)
}

// running says whether there is something to stop.
func (s *Server) running() bool {
	_, err := s.pid()
	return err == nil && s.accepts(context.Background())
}

// accepts says whether anybody listens at the port.
func (s *Server) accepts(ctx context.Context) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func (s *Server) logEnd() string {
	b, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

func (s *Server) logHas(words string) bool { return strings.Contains(s.logEnd(), words) }

// reaper is a shell that waits for the end of the test program, however it comes, and clears away what a server leaves.
type reaper struct {
	cmd  *exec.Cmd
	hold *os.File // closed with the program
}

const reap = `
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null && {
	n=0
	while [ $n -lt 50 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; n=$((n + 1)); done
}
cd /
rm -rf "$1"
`

func newReaper(user user, dir string) (*reaper, error) {
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := user.command(context.Background(), "/bin/sh", "-c", reap, "reap", dir)
	cmd.Stdin, cmd.Dir = in, dir
	ignoreInterrupts(cmd)
	err = errors.Join(cmd.Start(), in.Close())
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	return &reaper{cmd: cmd, hold: hold}, nil
}

func (r *reaper) close() error { return errors.Join(r.hold.Close(), r.cmd.Wait()) }
