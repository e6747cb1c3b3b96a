package postgres_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres"
	"github.com/waylume/waylume/registry/postgres/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// migrated prepares a database as a Supabase project has it, with the fleet's schema.
func migrated(ctx context.Context, dsn string) error {
	if err := pgserver.Supabase(ctx, dsn); err != nil {
		return err
	}
	_, err := migrations.Up(ctx, dsn)
	return err
}

// database is one of the test's own on the shared server.
func database(tb testing.TB) string {
	tb.Helper()
	return pgserver.Shared(tb).Database(tb, "fleet", migrated)
}

// open makes a fleet, with time-outs that a test can wait for.
func open(tb testing.TB, dsn string, edit ...func(*postgres.Config)) *postgres.Fleet {
	tb.Helper()
	cfg := postgres.Config{DSN: dsn, ConnectTimeout: 5 * time.Second, StatementTimeout: 20 * time.Second, PollInterval: 100 * time.Millisecond}
	for _, f := range edit {
		f(&cfg)
	}
	fleet, err := postgres.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, fleet.Close()) })
	return fleet
}

// sqlConn is a connection to look behind the functions.
func sqlConn(tb testing.TB, dsn string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

func ask[T any](tb testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	tb.Helper()
	var answer T
	require.NoError(tb, conn.QueryRow(tb.Context(), sql, args...).Scan(&answer))
	return answer
}

func key(name string) registry.Key {
	var k registry.Key
	copy(k[:], name)
	k[31] = 1
	return k
}

func keyText(name string) string {
	k := key(name)
	return base64.StdEncoding.EncodeToString(k[:])
}

func registration(name string) registry.Registration {
	return registry.Registration{
		Name: name, PublicKey: key(name), EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443",
	}
}

func join(tb testing.TB, fleet *postgres.Fleet, name string) registry.Registered {
	tb.Helper()
	registered, err := fleet.Register(tb.Context(), registration(name))
	require.NoError(tb, err)
	return registered
}

func begin(tb testing.TB, fleet *postgres.Fleet, user string) registry.Session {
	tb.Helper()
	s, err := fleet.Begin(tb.Context(), registry.NewSession{User: user, IdempotencyKey: "first", PublicKey: key(user)})
	require.NoError(tb, err)
	return s
}

// advance lets time pass: all times that the database has noted are shifted back.
func advance(tb testing.TB, dsn string, d time.Duration) {
	tb.Helper()
	columns := map[string][]string{
		"waylume_servers": {"registered_at", "heartbeat_at", "deregistered_at"},
		"vpn_sessions":    {"created_at", "placed_at", "confirmed_at", "expires_at", "ended_at"},
		"vpn_placements":  {"placed_at", "released_at"},
		"vpn_usage":       {"from_at", "to_at"},
		"node_events":     {"at"},
	}
	sql := ""
	for table, names := range columns {
		sql += "update " + table + " set"
		for i, name := range names {
			if i > 0 {
				sql += ","
			}
			sql += fmt.Sprintf(" %s = %s - interval '%d microseconds'", name, name, d.Microseconds())
		}
		sql += ";"
	}
	pgserver.Exec(tb, dsn, sql)
}
