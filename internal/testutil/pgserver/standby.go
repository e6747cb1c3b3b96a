package pgserver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Standby copies the server, and has the copy follow it: it is in recovery, takes no writes, and is to be had until the end of the
// test. Its password is the server's.
func (s *Server) Standby(tb testing.TB) *Server {
	tb.Helper()
	standby, err := newServer(s.programs, Config{Settings: s.settings})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, standby.close()) })
	standby.password = s.password
	err = s.run(tb.Context(), "pg_basebackup", "--pgdata", standby.data(), "--dbname", s.DSN("replication"), "--wal-method", "stream",
		"--checkpoint", "fast", "--no-sync")
	require.NoError(tb, err)
	require.NoError(tb, s.programs.user.writeFile(filepath.Join(standby.data(), "standby.signal"), ""))
	standby.settings["primary_conninfo"] = s.DSN("replication")
	require.NoError(tb, standby.startAtFreePort(tb.Context()))
	return standby
}

// Promote makes a standby take writes.
func (s *Server) Promote(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, s.run(tb.Context(), "pg_ctl", "promote", "--pgdata", s.data(), "--wait"))
	_, err := os.Stat(filepath.Join(s.data(), "standby.signal"))
	require.ErrorIs(tb, err, os.ErrNotExist, "it is still a standby")
}
