package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
)

// Superuser is the role that DSNs name unless they are made for another.
const Superuser = "postgres"

// Config is of a server. The zero Config is of use.
type Config struct {
	// Settings are of postgresql.conf, and take the place of this package's.
	Settings map[string]string
	// Dir is where the server keeps everything, in a directory of its own: a small file system, say. It has to be there, and to
	// be reachable for the server's user. Empty: the directory for temporary files.
	Dir string
	// Networks are those of hosts that may connect with a password, beside this one: a network namespace is another host. With
	// any, the server listens at all addresses.
	Networks []netip.Prefix
}

// Server is a server that runs, unless it was stopped.
type Server struct {
	programs programs
	dir      string // everything
	port     int
	password string
	settings map[string]string
	networks []netip.Prefix
	reaper   *reaper

	mu        sync.Mutex
	templates map[string]*template
	databases int
}

// Start runs a server until the end of the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return StartConfig(tb, Config{})
}

// StartConfig runs a server until the end of the test.
func StartConfig(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	found, err := find()
	testutil.Require(tb, err)
	s, err := start(tb.Context(), found, cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.close()) })
	return s
}

// Shared is one server for all tests of the program. It ends with the program.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	found, err := find()
	testutil.Require(tb, err)
	s, err := shared(found)
	require.NoError(tb, err)
	return s
}

var (
	sharedOnce   sync.Once //nolint:gochecknoglobals // one server for the program, since not every package has a TestMain
	sharedServer *Server   //nolint:gochecknoglobals // as above
	errShared    error     //nolint:gochecknoglobals // as above
)

func shared(found programs) (*Server, error) {
	sharedOnce.Do(func() {
		sharedServer, errShared = start(context.Background(), found, Config{})
	})
	return sharedServer, errShared
}

// defaults are the settings of a server whose data nobody will miss, beside others on a small machine. A commit is written before it
// is answered, though not synced: it outlives a server that is killed.
func defaults() map[string]string {
	return map[string]string{
		"listen_addresses": "127.0.0.1",
		"fsync":            "off",
		"full_page_writes": "off",
		"shared_buffers":   "32MB",
		"max_connections":  "200",
		"max_wal_size":     "256MB",
		"wal_keep_size":    "64MB",
		"timezone":         "UTC",
		"log_timezone":     "UTC",
		"jit":              "off",
	}
}

func start(ctx context.Context, found programs, cfg Config) (*Server, error) {
	s, err := newServer(found, cfg)
	if err != nil {
		return nil, err
	}
	passwordFile := filepath.Join(s.dir, "password")
	err = s.programs.user.writeFile(passwordFile, s.password)
	if err == nil {
		err = s.run(ctx, "initdb", "--pgdata", s.data(), "--username", Superuser, "--pwfile", passwordFile, "--encoding", "UTF8",
			"--locale", "C", "--auth-local", "trust", "--auth-host", "scram-sha-256", "--no-sync")
	}
	if err == nil {
		err = s.admit()
	}
	if err == nil {
		err = s.startAtFreePort(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// newServer makes a directory for a server, and sees to its removal.
func newServer(found programs, cfg Config) (*Server, error) {
	dir, err := os.MkdirTemp(cfg.Dir, "waylume-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{
		programs: found, dir: dir, password: rand.Text(), settings: defaults(), networks: cfg.Networks, templates: make(map[string]*template),
	}
	if len(s.networks) > 0 {
		s.settings["listen_addresses"] = "*"
	}
	maps.Copy(s.settings, cfg.Settings)
	if err := found.user.own(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if s.reaper, err = newReaper(found.user, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// admit has the server take connections of other hosts.
func (s *Server) admit() error {
	if len(s.networks) == 0 {
		return nil
	}
	file := filepath.Join(s.data(), "pg_hba.conf")
	rules, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, network := range s.networks {
		rules = fmt.Appendf(rules, "host %[1]s %[1]s %[2]s scram-sha-256\n", "all", network.Masked()) // databases and roles
	}
	return s.programs.user.writeFile(file, string(rules))
}

// startAtFreePort tries again where somebody else has taken the port meanwhile.
func (s *Server) startAtFreePort(ctx context.Context) error {
	const attempts = 5
	var err error
	for range attempts {
		if s.port, err = freePort(ctx); err != nil {
			return err
		}
		if err = s.launch(ctx); err == nil || !s.logHas("could not bind") {
			return err
		}
	}
	return err
}

func freePort(ctx context.Context) (int, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// LogFile is the file that the server logs to.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }

// Addr is HOST:PORT of the loopback.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// SocketDir is the directory of the server's socket, where it asks for no password.
func (s *Server) SocketDir() string { return s.dir }

// DSN is a URL to connect as the superuser to a database: "postgres" is there from the beginning.
func (s *Server) DSN(database string) string { return s.DSNAt(s.Addr(), database) }

// DSNAt is [Server.DSN] by way of another address, that of a proxy for instance, or of several: "HOST:PORT,HOST:PORT".
func (s *Server) DSNAt(addr, database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(Superuser, s.password), Host: addr, Path: "/" + database, RawQuery: "sslmode=disable",
	}).String()
}

// Password is the superuser's: something to look for where no secret may be.
func (s *Server) Password() string { return s.password }

const patience = 30 * time.Second

// close stops the server, and removes what it wrote.
func (s *Server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if s.running() {
		err = s.run(ctx, "pg_ctl", "stop", "--pgdata", s.data(), "--mode", "immediate", "--wait")
	}
	if err := errors.Join(err, s.reaper.close()); err != nil {
		return fmt.Errorf("stop PostgreSQL in %s: %w", s.dir, err)
	}
	return nil
}
