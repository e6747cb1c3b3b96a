package pgserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// template is a database that others are copied from.
type template struct {
	once sync.Once
	name string
	err  error
}

// Database makes a database that is the test's own, and returns its DSN. It is a copy of a template, which prepare makes for the
// first that asks for one of this name: it gets the DSN of an empty database, and leaves no connection to it. Without a name the
// database is empty. It is dropped at the end of the test, whoever is connected.
func (s *Server) Database(tb testing.TB, name string, prepare func(ctx context.Context, dsn string) error) string {
	tb.Helper()
	from := "template0"
	if name != "" {
		t := s.template(name)
		t.once.Do(func() { t.err = s.makeTemplate(t.name, prepare) })
		require.NoError(tb, t.err)
		from = t.name
	}
	s.mu.Lock()
	s.databases++
	database := fmt.Sprintf("test_%d", s.databases)
	s.mu.Unlock()
	require.NoError(tb, s.exec(tb.Context(), "create database "+quote(database)+" template "+quote(from)))
	tb.Cleanup(func() {
		ctx := context.WithoutCancel(tb.Context())
		if s.accepts(ctx) {
			require.NoError(tb, s.exec(ctx, "drop database if exists "+quote(database)+" with (force)"))
		}
	})
	return s.DSN(database)
}

func (s *Server) template(name string) *template {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.templates[name]
	if t == nil {
		t = &template{name: "template_" + name}
		s.templates[name] = t
	}
	return t
}

func (s *Server) makeTemplate(name string, prepare func(ctx context.Context, dsn string) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.exec(ctx, "create database "+quote(name)+" template template0"); err != nil {
		return err
	}
	if err := prepare(ctx, s.DSN(name)); err != nil {
		return fmt.Errorf("prepare the template %s: %w", name, err)
	}
	return nil
}

// Exec runs SQL in the database of a DSN, also when the test is being cleaned up.
func Exec(tb testing.TB, dsn, sql string, args ...any) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
	defer cancel()
	require.NoError(tb, run(ctx, dsn, sql, args...))
}

func (s *Server) exec(ctx context.Context, sql string) error { return run(ctx, s.DSN("postgres"), sql) }

func run(ctx context.Context, dsn, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	if _, err = conn.Exec(ctx, sql, args...); err != nil {
		err = fmt.Errorf("%.100s: %w", strings.TrimSpace(sql), err)
	}
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
