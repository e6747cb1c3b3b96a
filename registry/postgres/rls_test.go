package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
)

var tables = []string{"waylume_servers", "vpn_sessions", "vpn_placements", "vpn_usage", "node_events", "waylume_migrations"}

// as runs statements as a role, as PostgREST does for a request, and undoes them.
func as(t *testing.T, conn *pgx.Conn, role, claims string, do func(tx pgx.Tx)) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) }()
	_, err = tx.Exec(t.Context(), "set local role "+role)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select set_config('request.jwt.claims', $1, true)", claims)
	require.NoError(t, err)
	do(tx)
}

// code is the SQLSTATE of what a statement comes to; empty: it is done. The transaction goes on.
func code(t *testing.T, tx pgx.Tx, sql string, args ...any) string {
	t.Helper()
	save, err := tx.Begin(t.Context())
	require.NoError(t, err)
	_, err = save.Exec(t.Context(), sql, args...)
	require.NoError(t, save.Rollback(t.Context()))
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	require.NoError(t, err)
	return ""
}

func users(t *testing.T, tx pgx.Tx) []string {
	t.Helper()
	rows, err := tx.Query(t.Context(), "select user_id from vpn_sessions order by 1")
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

const forbidden = "42501"

func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn)
	join(t, fleet, "fra-1")
	for _, user := range []string{"ann", "bob"} {
		begin(t, fleet, user)
	}
	conn := sqlConn(t, dsn)

	as(t, conn, "authenticated", `{"sub": "ann", "role": "authenticated"}`, func(tx pgx.Tx) {
		require.Equal(t, []string{"ann"}, users(t, tx))
		for _, table := range tables {
			want := forbidden
			if table == "vpn_sessions" {
				want = ""
			}
			require.Equal(t, want, code(t, tx, "select * from "+table), table)
			require.Equal(t, forbidden, code(t, tx, "delete from "+table), table)
		}
		require.Equal(t, forbidden, code(t, tx, "update vpn_sessions set user_id = 'ann'"))
		require.Equal(t, forbidden, code(t, tx, "insert into vpn_sessions select * from vpn_sessions"))
	})
	for _, claims := range []string{"", "{}", `{"sub": null}`, `{"sub": ""}`, `{"role": "service_role"}`} {
		as(t, conn, "authenticated", claims, func(tx pgx.Tx) { require.Empty(t, users(t, tx), claims) })
	}
	as(t, conn, "anon", `{"sub": "ann"}`, func(tx pgx.Tx) {
		for _, table := range tables {
			require.Equal(t, forbidden, code(t, tx, "select * from "+table), table)
		}
	})
	for _, role := range []string{"service_role", "waylume_control"} {
		as(t, conn, role, "", func(tx pgx.Tx) {
			require.Equal(t, []string{"ann", "bob"}, users(t, tx))
			require.Equal(t, forbidden, code(t, tx, "delete from vpn_sessions"))
		})
	}
	as(t, conn, "waylume_node", "", func(tx pgx.Tx) {
		for _, table := range tables {
			require.Equal(t, forbidden, code(t, tx, "select * from "+table), table)
		}
	})
}

// functions of the fleet that a role may execute.
func functions(t *testing.T, conn *pgx.Conn, role string) []string {
	t.Helper()
	return ask[[]string](t, conn, `select coalesce(array_agg(proname::text order by proname), '{}') from pg_proc
		where pronamespace = 'public'::regnamespace and has_function_privilege($1, oid, 'execute')`, role)
}

func TestWhoExecutesWhat(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	conn := sqlConn(t, dsn)
	node := []string{"waylume_deregister", "waylume_drain", "waylume_heartbeat", "waylume_register", "waylume_report_usage"}
	control := []string{
		"waylume_prune", "waylume_select", "waylume_server", "waylume_servers_list", "waylume_session", "waylume_session_begin",
		"waylume_session_confirm",
		"waylume_session_end", "waylume_session_move", "waylume_sessions_stranded", "waylume_set_draining",
	}
	require.Equal(t, node, functions(t, conn, "waylume_node"))
	require.Equal(t, control, functions(t, conn, "waylume_control"))
	require.Equal(t, slices.Sorted(slices.Values(slices.Concat(node, control))), functions(t, conn, "service_role"))
	for _, role := range []string{"anon", "authenticated"} {
		require.Empty(t, functions(t, conn, role))
	}
}

// Roles that log in get what they need by the fleet's roles, and no more.
func TestRolesThatLogIn(t *testing.T) {
	t.Parallel()
	server := pgserver.Shared(t)
	dsn := database(t)
	pgserver.Exec(t, dsn, `create role test_node login password 'n' in role waylume_node;
		create role test_control login password 'c' in role waylume_control; create role test_stranger login password 's'`)
	t.Cleanup(func() { pgserver.Exec(t, server.DSN("postgres"), "drop role test_node, test_control, test_stranger") })
	at := func(user, password string) string {
		cfg, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		return "postgres://" + user + ":" + password + "@" + server.Addr() + "/" + cfg.Database + "?sslmode=disable"
	}
	node, control, stranger := open(t, at("test_node", "n")), open(t, at("test_control", "c")), open(t, at("test_stranger", "s"))
	r := join(t, node, "fra-1")
	_, err := node.Heartbeat(t.Context(), registry.Heartbeat{Server: r.Server, Incarnation: 1, Sequence: 1})
	require.NoError(t, err)
	_, err = node.List(t.Context(), registry.Filter{})
	require.ErrorIs(t, err, registry.ErrDenied)
	s := begin(t, control, "ann")
	require.Equal(t, r.Server, s.Server)
	_, err = control.Register(t.Context(), registration("fra-2"))
	require.ErrorIs(t, err, registry.ErrDenied)
	for c, err := range control.Watch(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "fra-1", c.Server.Name)
		break
	}
	_, err = stranger.Begin(t.Context(), registry.NewSession{User: "x", IdempotencyKey: "y", PublicKey: key("x")})
	require.ErrorIs(t, err, registry.ErrDenied)
	require.ErrorContains(t, err, "grant the role")
	for _, err := range stranger.Watch(t.Context()) {
		require.ErrorIs(t, err, registry.ErrDenied)
	}
	wrong := open(t, at("test_control", "wrong"))
	_, err = wrong.List(t.Context(), registry.Filter{})
	require.ErrorIs(t, err, registry.ErrDenied)
}

// Without the roles of Supabase there is nothing to grant them, and once they are there it is made up for.
func TestGrantsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	server := pgserver.Start(t)
	dsn := server.Database(t, "", nil)
	require.NoError(t, up(t.Context(), dsn))
	pgserver.Exec(t, dsn, "create role authenticated")
	conn := sqlConn(t, dsn)
	require.False(t, ask[bool](t, conn, "select has_table_privilege('authenticated', 'vpn_sessions', 'select')"))
	pgserver.Exec(t, dsn, "select waylume_grants()")
	require.True(t, ask[bool](t, conn, "select has_table_privilege('authenticated', 'vpn_sessions', 'select')"))
}
