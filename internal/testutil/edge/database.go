package edge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
)

// Owner is the role that applies the migrations, and that the functions are: like Supabase's postgres it is no superuser.
const Owner = "waylume_owner"

// Database makes a database with the roles and the defaults of a Supabase project, and with the migrations of the example. It returns
// the URL that the functions have, as Owner. It goes with the test.
func Database(tb testing.TB, server *pgserver.Server) string {
	tb.Helper()
	dsn := server.Database(tb, "example", func(ctx context.Context, dsn string) error {
		return migrate(ctx, dsn, filepath.Join(Example(tb), "migrations"), server.Password())
	})
	owned, err := asOwner(dsn)
	require.NoError(tb, err)
	return owned
}

// At is the URL of a database by way of another address, HOST:PORT, such as that of a proxy.
func At(tb testing.TB, database, address string) string {
	tb.Helper()
	u, err := url.Parse(database)
	require.NoError(tb, err)
	u.Host = address
	return u.String()
}

// asOwner has the password that the superuser has.
func asOwner(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	password, _ := u.User.Password()
	u.User = url.UserPassword(Owner, password)
	return u.String(), nil
}

// ownership makes the role and gives it the schema, with the defaults of Supabase for what it makes there.
const ownership = `
do $$
begin
	if not exists (select from pg_roles where rolname = '%[1]s') then
		create role %[1]s login createrole bypassrls password '%[2]s';
	end if;
end $$;
grant anon, authenticated, service_role to %[1]s with admin option;
alter schema public owner to %[1]s;
alter default privileges for role %[1]s in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role %[1]s in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role %[1]s in schema public grant all on sequences to anon, authenticated, service_role;
`

func migrate(ctx context.Context, dsn, folder, password string) error {
	if err := pgserver.Supabase(ctx, dsn); err != nil {
		return err
	}
	if err := execute(ctx, dsn, fmt.Sprintf(ownership, Owner, password)); err != nil {
		return err
	}
	owned, err := asOwner(dsn)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("no migrations in " + folder)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := execute(ctx, owned, string(content)); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

// execute runs a script in a transaction.
func execute(ctx context.Context, dsn, script string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, script)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}
