package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Files are the migrations, by names that sort in the order in which they are applied.
func Files() fs.FS { return files }

// Table is where a database keeps which migrations it has.
const Table = "waylume_migrations"

// lockID is that of the advisory lock which whoever migrates holds.
const lockID = 0x7761796c756d65 // "waylume"

const (
	connectTimeout = 10 * time.Second
	// lockTimeout is how long a statement waits for a table that is in use. While it waits everybody else does.
	lockTimeout = "10s"
	// lockPatience is how long to wait for another who migrates, in s.
	lockPatience = 300
)

// ErrDSN is that a DSN cannot be read. It is not shown, as it may have a password.
var ErrDSN = errors.New("the DSN is neither a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE, nor in the form of libpq")

// Migration is one file.
type Migration struct {
	// Version is the number that the name begins with: a date and a time.
	Version int64
	Name    string
	// AppliedAt is zero for one that the database does not have.
	AppliedAt time.Time
}

// Up applies the migrations that the database does not have, each in a transaction of its own, and returns them. Of two that
// call it at once one waits for the other. It ends with the first that fails; those before it stay.
func Up(ctx context.Context, dsn string) ([]Migration, error) { return UpTo(ctx, dsn, 0) }

// UpTo is [Up] to a version and not farther. 0: to the last.
func UpTo(ctx context.Context, dsn string, version int64) (applied []Migration, err error) {
	p, err := open(dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var results []*goose.MigrationResult
	if version == 0 {
		results, err = p.Up(ctx)
	} else {
		results, err = p.UpTo(ctx, version)
	}
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
		err = fmt.Errorf("migration %s: %w", path.Base(partial.Failed.Source.Path), partial.Err)
	}
	for _, r := range results {
		applied = append(applied, Migration{Version: r.Source.Version, Name: path.Base(r.Source.Path), AppliedAt: time.Now()})
	}
	return applied, words(err)
}

// Status returns all migrations in their order, and when each was applied. It changes nothing: a database that never was
// migrated stays as it is.
func Status(ctx context.Context, dsn string) (all []Migration, err error) {
	p, err := open(dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	applied, err := p.applied(ctx)
	if err != nil {
		return nil, words(err)
	}
	for _, s := range p.ListSources() {
		all = append(all, Migration{Version: s.Version, Name: path.Base(s.Path), AppliedAt: applied[s.Version]})
	}
	return all, nil
}

// SQL is all migrations as one script, for whoever applies them with psql.
func SQL() (string, error) {
	var b strings.Builder
	b.WriteString("set search_path = public;\n")
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n-- %s\nbegin;\n%s\ncommit;\n", name, strings.TrimSpace(string(content)))
	}
	return b.String(), nil
}

// provider is goose's, with its connections.
type provider struct {
	*goose.Provider
	db *sql.DB
}

func open(dsn string) (*provider, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil || dsn == "" {
		return nil, ErrDSN
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["search_path"] = "public"
	cfg.RuntimeParams["lock_timeout"] = lockTimeout
	cfg.RuntimeParams["application_name"] = "waylume migrate"
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID), lock.WithLockTimeout(1, lockPatience))
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(Table), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &provider{p, db}, nil
}

// applied returns which versions the database has, and since when.
func (p *provider) applied(ctx context.Context) (_ map[int64]time.Time, err error) {
	versions := make(map[int64]time.Time)
	var there bool
	if err := p.db.QueryRowContext(ctx, "select to_regclass($1) is not null", Table).Scan(&there); err != nil || !there {
		return versions, err
	}
	rows, err := p.db.QueryContext(ctx, "select version_id, tstamp from "+Table+" where is_applied")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		versions[version] = at
	}
	return versions, rows.Err()
}

// words keep of an error of the connection what can be shown: it has the whole configuration in it, with the password.
func words(err error) error {
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return errors.New(strings.Join(strings.Fields(connect.Error()), " "))
	}
	return err
}
