package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waylume/waylume/registry"
)

// Fleet is one that a database keeps. Make it with [New]. Its methods may be called from any goroutine.
type Fleet struct {
	cfg       Config
	pool      *pgxpool.Pool
	listening *pgx.ConnConfig
}

// New returns a fleet without asking the database anything: it need not be there. From then on a goroutine looks after connections.
// A configuration that breaks a rule is [registry.ErrInvalid].
func New(cfg Config) (*Fleet, error) {
	poolConfig, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	listening := listening(poolConfig)
	pool, err := pgxpool.NewWithConfig(context.Background(), poolConfig)
	if err != nil {
		return nil, fmt.Errorf("%w: connections to the database: %w", registry.ErrInvalid, err)
	}
	return &Fleet{cfg: cfg, pool: pool, listening: listening}, nil
}

// Close closes the connections when the calls that are under way have ended. What is called afterwards fails with
// [registry.ErrUnavailable]. It does not end a Watch, which has a connection of its own.
func (f *Fleet) Close() error {
	f.pool.Close()
	return nil
}

// Ping says whether the database answers, and has the functions of a fleet. Errors: [registry.ErrUnavailable], [registry.ErrDenied].
func (f *Fleet) Ping(ctx context.Context) error {
	return f.query(ctx, func(row pgx.Row) error { return row.Scan(new(any)) }, "select 'waylume_heartbeat(jsonb)'::regprocedure::oid")
}

// attempts is how often a call is made that the database has rolled back for the sake of another.
const attempts = 3

// query makes a call that returns one row. It waits for the server's time-out and the connection, and no longer.
func (f *Fleet) query(ctx context.Context, scan func(pgx.Row) error, sql string, args ...any) error {
	limited, cancel := context.WithTimeout(ctx, f.limit())
	defer cancel()
	var err error
	for range attempts {
		err = scan(f.pool.QueryRow(limited, sql, args...))
		if !rolledBack(err) {
			break
		}
	}
	if demoted(err) {
		f.pool.Reset() // the server takes no more writes: another does
	}
	return explain(ctx, err)
}

// limit is how long a call takes at most.
func (f *Fleet) limit() time.Duration {
	return f.cfg.StatementTimeout + f.cfg.ConnectTimeout + pingTimeout + cancelPatience
}

// call calls a function that returns JSON, which may be null: then there is nothing, and out stays as it is.
func (f *Fleet) call(ctx context.Context, out any, sql string, args ...any) error {
	var answer []byte
	if err := f.query(ctx, func(row pgx.Row) error { return row.Scan(&answer) }, sql, args...); err != nil {
		return err
	}
	if answer == nil {
		return nil
	}
	return decode(answer, out)
}

// decode reads what a function has returned. That it cannot be read is the database's fault.
func decode(answer []byte, out any) error {
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w: the database answers in another form than this program expects: %w", registry.ErrUnavailable, err)
	}
	return nil
}

// encode writes what a function takes. What cannot be written is invalid.
func encode(in any) (string, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("%w: %w", registry.ErrInvalid, err)
	}
	return string(b), nil
}

func rolledBack(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == serializationFailure || pg.Code == deadlockDetected)
}

func demoted(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == readOnlyTransaction
}
