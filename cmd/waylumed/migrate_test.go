package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
)

func TestMigrate(t *testing.T) {
	server := pgserver.Shared(t)
	dsn := server.Database(t, "", nil)
	file := filepath.Join(t.TempDir(), "database")
	require.NoError(t, os.WriteFile(file, []byte(dsn+"\n"), 0o600))

	status, stdout, stderr := command(t.Context(), "migrate", "--database-file", file, "--status")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "fleet_tables.sql")
	require.Contains(t, stdout, "The database lacks 7 of 7")
	require.Empty(t, stderr)

	status, stdout, stderr = command(t.Context(), "migrate", "--database", dsn)
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, 7, strings.Count(stdout, "applied "), stdout)
	status, stdout, _ = command(t.Context(), "migrate", "--database-file", file)
	require.Equal(t, exitOK, status)
	require.Equal(t, "The schema is up to date.\n", stdout)
	status, stdout, _ = command(t.Context(), "migrate", "--database", dsn, "--status")
	require.Equal(t, exitOK, status)
	require.NotContains(t, stdout, "lacking")
}

// What --print writes makes the same schema.
func TestMigratePrint(t *testing.T) {
	status, script, stderr := command(t.Context(), "migrate", "--print")
	require.Equal(t, exitOK, status, stderr)
	dsn := pgserver.Shared(t).Database(t, "", nil)
	pgserver.Exec(t, dsn, script)
	pgserver.Exec(t, dsn, "select waylume_servers_list()")
}

func TestMigrateFails(t *testing.T) {
	const secret = "correct-horse"
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for line, want := range map[string]string{
		"migrate": "say which database",
		"migrate --database postgres://u@h/d --database-file f":                                 "one of them",
		"migrate --print --status":                                                              "give it alone",
		"migrate --database-file " + empty:                                                      "is to have one line",
		"migrate --database-file " + empty + ".not":                                             "no such file",
		"migrate --database postgres://u:" + secret + "@h:port/d":                               "neither a URL",
		"migrate --database postgres://u:" + secret + "@127.0.0.1:1/d?sslmode=disable":          "connection refused",
		"migrate --database postgres://u:" + secret + "@127.0.0.1:1/d?sslmode=nonsense":         "neither a URL",
		"migrate --database postgres://u:" + secret + "@127.0.0.1:1/d?sslmode=disable --status": "connection refused",
	} {
		status, stdout, stderr := command(t.Context(), strings.Fields(line)...)
		require.NotEqual(t, exitOK, status, line)
		require.Empty(t, stdout)
		require.Contains(t, stderr, want, line)
		require.NotContains(t, stderr, secret)
	}
}
