package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres"
)

// impatient are time-outs for what is not going to answer.
func impatient(cfg *postgres.Config) {
	cfg.ConnectTimeout, cfg.StatementTimeout = time.Second, time.Second
}

// eventually waits for a fleet to answer again.
func eventually(t *testing.T, fleet *postgres.Fleet) {
	t.Helper()
	require.Eventually(t, func() bool { return fleet.Ping(t.Context()) == nil }, 30*time.Second, 50*time.Millisecond)
}

// requireUnavailable calls all that there is to call.
func requireUnavailable(t *testing.T, fleet *postgres.Fleet, secret string) {
	t.Helper()
	const id = "00000000-0000-4000-8000-000000000000"
	calls := map[string]func(ctx context.Context) error{
		"register": func(ctx context.Context) error { _, err := fleet.Register(ctx, registration("x")); return err },
		"drain":    func(ctx context.Context) error { return fleet.Drain(ctx, id, true) },
		"list":     func(ctx context.Context) error { _, err := fleet.List(ctx, registry.Filter{}); return err },
		"select":   func(ctx context.Context) error { _, err := fleet.Select(ctx, registry.Query{}); return err },
		"end":      func(ctx context.Context) error { _, err := fleet.End(ctx, id, ""); return err },
		"stranded": func(ctx context.Context) error { _, err := fleet.Stranded(ctx, 0, 1); return err },
		"heartbeat": func(ctx context.Context) error {
			_, err := fleet.Heartbeat(ctx, registry.Heartbeat{Server: id, Incarnation: 1, Sequence: 1})
			return err
		},
	}
	for name, call := range calls {
		err := call(t.Context())
		require.ErrorIs(t, err, registry.ErrUnavailable, name)
		require.NotErrorIs(t, err, registry.ErrInvalid, name)
		require.NotContains(t, fmt.Sprintf("%v %+v", err, err), secret)
	}
}

// A connection that the server ends is replaced, whoever is using it meanwhile.
func TestConnectionsThatTheServerEnds(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn)
	join(t, fleet, "fra-1")
	conn := sqlConn(t, dsn)
	for range 5 {
		ask[int](t, conn, `select count(pg_terminate_backend(pid)) from pg_stat_activity
			where datname = current_database() and application_name = 'waylume'`)
		eventually(t, fleet)
		_, err := fleet.List(t.Context(), registry.Filter{})
		require.NoError(t, err)
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := newProxy(t, pgserver.Shared(t).Addr())
	secret := pgserver.Shared(t).Password()
	_, name, _ := strings.Cut(dsn, pgserver.Shared(t).Addr()+"/")
	name, _, _ = strings.Cut(name, "?")
	fleet := open(t, pgserver.Shared(t).DSNAt(p.addr(), name), impatient)
	r := join(t, open(t, dsn), "fra-1")

	p.cut() // and what was open is reset
	eventually(t, fleet)
	_, err := fleet.Heartbeat(t.Context(), registry.Heartbeat{Server: r.Server, Incarnation: 1, Sequence: 1})
	require.NoError(t, err)

	p.silence(true)
	requireUnavailable(t, fleet, secret)
	p.silence(false)
	eventually(t, fleet)

	require.NoError(t, p.listener.Close())
	p.cut()
	requireUnavailable(t, fleet, secret)
}

// Who watches sees after an outage what happened in it, and the log tells of it without the password.
func TestWatchOutlastsOutages(t *testing.T) {
	t.Parallel()
	server := pgserver.Start(t)
	dsn := server.Database(t, "fleet", migrated)
	log := &lockedBuffer{}
	direct := open(t, dsn)
	r := join(t, direct, "fra-1")
	_, name, _ := strings.Cut(dsn, server.Addr()+"/")
	name, _, _ = strings.Cut(name, "?")
	p := newProxy(t, server.Addr())
	watching := open(t, server.DSNAt(p.addr(), name), impatient, func(cfg *postgres.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	outages := []func(){
		p.cut,
		func() { p.silence(true) },
		func() { server.Stop(t); server.Restart(t) },
	}
	draining, round := false, 0
	for c, err := range watching.Watch(ctx) {
		require.NoError(t, err)
		if c.Server.Draining != draining || c.Gone {
			continue
		}
		if round == len(outages) {
			cancel()
			break
		}
		outages[round]()
		round++
		draining = !draining
		eventually(t, direct)
		require.NoError(t, direct.Drain(t.Context(), r.Server, draining))
		if round == 2 {
			time.AfterFunc(100*time.Millisecond, func() { p.silence(false) })
		}
	}
	require.Equal(t, len(outages), round)
	require.Contains(t, log.String(), "lost sight of the servers")
	require.NotContains(t, log.String(), server.Password())
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A lock that somebody holds does not hold a node for longer than the time-out, nor does the server go on waiting.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	r := join(t, open(t, dsn), "fra-1")
	fleet := open(t, dsn, impatient)
	eventually(t, fleet)
	holder := sqlConn(t, dsn)
	tx, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select from waylume_servers for update")
	require.NoError(t, err)
	beat := registry.Heartbeat{Server: r.Server, Incarnation: 1, Sequence: 1}
	_, err = fleet.Heartbeat(t.Context(), beat)
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, "statement timeout")
	patient := open(t, dsn, func(cfg *postgres.Config) { cfg.StatementTimeout = time.Minute })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = patient.Heartbeat(ctx, beat)
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	conn := sqlConn(t, dsn)
	require.Eventually(t, func() bool {
		return ask[int](t, conn, `select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`) == 0
	}, 20*time.Second, 20*time.Millisecond, "the server does not wait for those who have gone")
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = fleet.Heartbeat(t.Context(), beat)
	require.NoError(t, err)
}

func TestWhatACallerEnds(t *testing.T) {
	t.Parallel()
	fleet := open(t, database(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := fleet.List(ctx, registry.Filter{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, registry.ErrUnavailable)
	for _, err := range fleet.Watch(ctx) {
		require.NoError(t, err)
		t.Fatal("nobody watches any more")
	}
	require.NoError(t, fleet.Close())
	require.NoError(t, fleet.Close())
	_, err = fleet.List(t.Context(), registry.Filter{})
	require.ErrorIs(t, err, registry.ErrUnavailable)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse"
	for dsn, want := range map[string]string{
		"":                                     "is missing",
		"postgres://u:" + secret + "@h:port/d": "neither a URL",
		"postgres://u:" + secret + "@h/d?sslmode=x":           "neither a URL",
		"host=h password='" + secret:                          "neither a URL",
		"postgres://u:" + secret + "@h/d?sslrootcert=/not/it": "neither a URL",
	} {
		_, err := postgres.New(postgres.Config{DSN: dsn})
		require.ErrorIs(t, err, registry.ErrInvalid, dsn)
		require.ErrorContains(t, err, want)
		require.NotContains(t, fmt.Sprintf("%+v", err), secret)
	}
	_, err := postgres.New(postgres.Config{
		MaxConns: -1, MinIdleConns: -1, ConnectTimeout: -1, StatementTimeout: time.Microsecond, PollInterval: 2 * time.Hour,
		ApplicationName: strings.Repeat("x", 64),
	})
	for _, field := range []string{
		"DSN", "MaxConns", "MinIdleConns", "ConnectTimeout", "StatementTimeout", "PollInterval", "ApplicationName",
	} {
		require.ErrorContains(t, err, field+":")
	}
	fleet, err := postgres.New(postgres.Config{DSN: "postgres://u:" + secret + "@127.0.0.1:1/d?sslmode=disable", ApplicationName: "x"})
	require.NoError(t, err)
	requireUnavailable(t, fleet, secret)
	require.NoError(t, fleet.Close())
}

func TestSettingsOfTheSession(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn, func(cfg *postgres.Config) { cfg.ApplicationName = "node fra-1" })
	require.NoError(t, fleet.Ping(t.Context()))
	conn := sqlConn(t, dsn)
	require.Equal(t, 1, ask[int](t, conn, "select count(*) from pg_stat_activity where application_name = 'node fra-1'"))
}
