package pgserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var answer T
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&answer))
	return answer
}

func TestDatabasesAreCopiesOfATemplate(t *testing.T) {
	s := pgserver.Shared(t)
	prepared := 0
	prepare := func(ctx context.Context, dsn string) error {
		prepared++
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "create table t (n int); insert into t values (7)")
		return err
	}
	one := connect(t, s.Database(t, "numbers", prepare))
	other := connect(t, s.Database(t, "numbers", prepare))
	require.Equal(t, 1, prepared)
	_, err := one.Exec(t.Context(), "update t set n = 8")
	require.NoError(t, err)
	require.Equal(t, 7, ask[int](t, other, "select n from t"))
	require.Same(t, s, pgserver.Shared(t))
	empty := connect(t, s.Database(t, "", nil))
	require.Zero(t, ask[int](t, empty, "select count(*) from pg_tables where schemaname = 'public'"))
}

func TestAServerIsStoppedRestartedAndKilled(t *testing.T) {
	s := pgserver.Start(t)
	dsn := s.Database(t, "", nil)
	conn := connect(t, dsn)
	_, err := conn.Exec(t.Context(), "create table t (n int)")
	require.NoError(t, err)

	s.Stop(t)
	require.Error(t, conn.Ping(t.Context()))
	_, err = pgx.Connect(t.Context(), dsn)
	require.Error(t, err)
	s.Restart(t)
	conn = connect(t, dsn)
	require.Zero(t, ask[int](t, conn, "select count(*) from t"))

	_, err = conn.Exec(t.Context(), "insert into t values (1)")
	require.NoError(t, err)
	s.Kill(t)
	_, err = pgx.Connect(t.Context(), dsn)
	require.Error(t, err)
	s.Restart(t)
	require.Equal(t, 1, ask[int](t, connect(t, dsn), "select count(*) from t"), "what was committed, however late")
}

func TestAStandbyFollowsAndIsPromoted(t *testing.T) {
	s := pgserver.Start(t)
	primary := connect(t, s.DSN("postgres"))
	standby := s.Standby(t)
	_, err := primary.Exec(t.Context(), "create table t (n int)")
	require.NoError(t, err)
	copied := connect(t, standby.DSN("postgres"))
	require.True(t, ask[bool](t, copied, "select pg_is_in_recovery()"))
	require.Eventually(t, func() bool {
		return ask[bool](t, copied, "select to_regclass('t') is not null")
	}, 20*time.Second, 20*time.Millisecond)
	s.Kill(t)
	standby.Promote(t)
	_, err = copied.Exec(t.Context(), "insert into t values (1)")
	require.NoError(t, err)
}

const childVariable = "WAYLUME_PGSERVER_CHILD"

// TestChild is a test program that is killed before its end.
func TestChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("is part of TestNothingIsLeftOfAProgramThatIsKilled")
	}
	fmt.Printf("at %s\n", pgserver.Shared(t).SocketDir())
	select {}
}

func TestNothingIsLeftOfAProgramThatIsKilled(t *testing.T) {
	pgserver.Shared(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$") //nolint:gosec // it is this program
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		dir, _ = strings.CutPrefix(lines.Text(), "at ")
		if dir == lines.Text() {
			dir = ""
		}
	}
	require.DirExists(t, dir)
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	}, 30*time.Second, 20*time.Millisecond)
}

func TestRolesAreThoseOfSupabase(t *testing.T) {
	dsn := pgserver.Shared(t).Database(t, "supabase", pgserver.Supabase)
	require.NoError(t, pgserver.Supabase(t.Context(), dsn), "again")
	pgserver.Exec(t, dsn, "create table t (n int)")
	conn := connect(t, dsn)
	require.Equal(t, []string{"anon", "authenticated", "service_role"}, ask[[]string](t, conn,
		`select array_agg(r order by r) from unnest(array['anon', 'authenticated', 'service_role']) r
		where has_table_privilege(r, 't', 'insert')`))
}
