package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waylume/waylume/registry"
)

// Defaults and bounds of a [Config].
const (
	DefaultMaxConns         = 8
	MaxConns                = 1000
	DefaultConnectTimeout   = 5 * time.Second
	DefaultStatementTimeout = 10 * time.Second
	DefaultPollInterval     = 15 * time.Second
	DefaultApplicationName  = "waylume"
	maxApplicationName      = 63 // bytes; PostgreSQL cuts off the rest
)

// Config is what a [Fleet] is made of. All but DSN may be left out.
type Config struct {
	// DSN says which database, as a URL (postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full) or in the form of
	// libpq ("host=... dbname=..."). It may name several hosts, which are tried in their order; with
	// target_session_attrs=read-write only one that takes writes is gone with, so that a standby that was promoted is found.
	DSN string
	// MaxConns is how many connections there are at most, beside one for each Watch: 1 to MaxConns. 0: DefaultMaxConns.
	MaxConns int
	// MinIdleConns are kept open though idle, from the beginning on: 0 to MaxConns.
	MinIdleConns int
	// ConnectTimeout is for each host of the DSN. 0: DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// StatementTimeout is how long the server works for one call, in whole milliseconds. 0: DefaultStatementTimeout. It is
	// a parameter of the session: a pooler in between has to let it pass.
	StatementTimeout time.Duration
	// ApplicationName is how pg_stat_activity names the connections, at most 63 bytes. Empty: that of the DSN, else
	// DefaultApplicationName.
	ApplicationName string
	// PollInterval is how often a Watch looks at all servers beside what it is notified of. What a heartbeat says of peers and
	// load it sees by that alone. 0: DefaultPollInterval.
	PollInterval time.Duration
	// Logger hears of connections that Watch loses and has again. Nil: nobody does.
	Logger *slog.Logger
}

// validate completes the configuration, or says all that is wrong with it.
func (c *Config) validate() (*pgxpool.Config, error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	duration := func(field string, d *time.Duration, otherwise time.Duration) {
		switch {
		case *d == 0:
			*d = otherwise
		case *d < time.Millisecond || *d > time.Hour:
			problem("%s: %s is not in the range 1ms to 1h", field, *d)
		}
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.MaxConns < 1 || c.MaxConns > MaxConns {
		problem("MaxConns: %d is not in the range 1 to %d", c.MaxConns, MaxConns)
	}
	if c.MinIdleConns < 0 || c.MinIdleConns > c.MaxConns {
		problem("MinIdleConns: %d is not in the range 0 to MaxConns", c.MinIdleConns)
	}
	duration("ConnectTimeout", &c.ConnectTimeout, DefaultConnectTimeout)
	duration("StatementTimeout", &c.StatementTimeout, DefaultStatementTimeout)
	duration("PollInterval", &c.PollInterval, DefaultPollInterval)
	if len(c.ApplicationName) > maxApplicationName {
		problem("ApplicationName: has %d bytes, more than %d", len(c.ApplicationName), maxApplicationName)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	pool, err := parseDSN(c.DSN)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w configuration of the database: %w", registry.ErrInvalid, errors.Join(problems...))
	}
	c.apply(pool)
	return pool, nil
}

// parseDSN says nothing of what is wrong with a DSN that might give away a part of it.
func parseDSN(dsn string) (*pgxpool.Config, error) {
	if dsn == "" {
		return nil, errors.New("DSN: is missing: give a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	pool, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("DSN: is neither a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, " +
			"nor in the form of libpq, or has an option of another kind, or names a file that cannot be read " +
			"(it is not shown, since it may have a password; in a URL, special characters of the password are written %XX)")
	}
	return pool, nil
}

// apply has connections be as the configuration says.
func (c *Config) apply(pool *pgxpool.Config) {
	pool.MaxConns = int32(c.MaxConns)         //nolint:gosec // it is in range
	pool.MinIdleConns = int32(c.MinIdleConns) //nolint:gosec // it is in range
	pool.PingTimeout = pingTimeout
	pool.HealthCheckPeriod = healthCheckPeriod
	conn := pool.ConnConfig
	conn.ConnectTimeout = c.ConnectTimeout
	conn.RuntimeParams["statement_timeout"] = strconv.FormatInt(c.StatementTimeout.Milliseconds(), 10)
	switch {
	case c.ApplicationName != "":
		conn.RuntimeParams["application_name"] = c.ApplicationName
	case conn.RuntimeParams["application_name"] == "":
		conn.RuntimeParams["application_name"] = DefaultApplicationName
	}
	// A caller that does not wait any longer has the server stop, too.
	conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelPatience}
	}
}

// listening is the configuration of a connection that waits for notifications. It is not cancelled on the server when a wait ends.
func listening(pool *pgxpool.Config) *pgx.ConnConfig {
	conn := pool.ConnConfig.Copy()
	conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()}
	}
	return conn
}

const (
	pingTimeout       = 2 * time.Second  // of a connection that was idle, before it is used
	healthCheckPeriod = 15 * time.Second // of idle connections
	cancelPatience    = time.Second      // in which a server answers that it has cancelled
)
