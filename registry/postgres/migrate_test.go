package postgres_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres/migrations"
)

func up(ctx context.Context, dsn string) error {
	_, err := migrations.Up(ctx, dsn)
	return err
}

func names(all []migrations.Migration) (applied, lacking []string) {
	for _, m := range all {
		if m.AppliedAt.IsZero() {
			lacking = append(lacking, m.Name)
		} else {
			applied = append(applied, m.Name)
		}
	}
	return applied, lacking
}

func status(t *testing.T, dsn string) (applied, lacking []string) {
	t.Helper()
	all, err := migrations.Status(t.Context(), dsn)
	require.NoError(t, err)
	return names(all)
}

func TestMigrationsAreAppliedOnce(t *testing.T) {
	t.Parallel()
	dsn := pgserver.Shared(t).Database(t, "", nil)
	applied, lacking := status(t, dsn)
	require.Empty(t, applied)
	require.NotEmpty(t, lacking)
	conn := sqlConn(t, dsn)
	require.False(t, ask[bool](t, conn, "select to_regclass('waylume_migrations') is not null"), "to look changes nothing")

	done, err := migrations.Up(t.Context(), dsn)
	require.NoError(t, err)
	doneNames, _ := names(done)
	require.Equal(t, lacking, doneNames)
	done, err = migrations.Up(t.Context(), dsn)
	require.NoError(t, err)
	require.Empty(t, done)
	applied, lacking = status(t, dsn)
	require.Equal(t, doneNames, applied)
	require.Empty(t, lacking)
}

func TestMigrationsAtOnce(t *testing.T) {
	t.Parallel()
	dsn := pgserver.Shared(t).Database(t, "", nil)
	const many = 4
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	errs := make([]error, many)
	for i := range many {
		wg.Go(func() {
			var done []migrations.Migration
			done, errs[i] = migrations.Up(t.Context(), dsn)
			mu.Lock()
			defer mu.Unlock()
			total += len(done)
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	applied, lacking := status(t, dsn)
	require.Empty(t, lacking)
	require.Len(t, applied, total, "each was applied once")
}

// A database of an earlier version, with a fleet in it, gets what it lacks and keeps what it has.
func TestMigrationFromAnOlderVersion(t *testing.T) {
	t.Parallel()
	dsn := pgserver.Shared(t).Database(t, "", nil)
	all, err := migrations.Status(t.Context(), dsn)
	require.NoError(t, err)
	done, err := migrations.UpTo(t.Context(), dsn, all[2].Version)
	require.NoError(t, err)
	require.Len(t, done, 3)
	fleet := open(t, dsn)
	r := join(t, fleet, "fra-1")
	_, err = fleet.Select(t.Context(), registry.Query{})
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, "waylumed migrate")

	done, err = migrations.Up(t.Context(), dsn)
	require.NoError(t, err)
	require.Len(t, done, len(all)-3)
	selection, err := fleet.Select(t.Context(), registry.Query{})
	require.NoError(t, err)
	require.Equal(t, r.Server, selection.Server.ID)
}

// One that fails leaves those before it, and says what is wrong; the next attempt goes on from there.
func TestMigrationThatFails(t *testing.T) {
	t.Parallel()
	dsn := pgserver.Shared(t).Database(t, "", nil)
	pgserver.Exec(t, dsn, "create function waylume_register(registration jsonb) returns jsonb language sql as 'select registration'")
	done, err := migrations.Up(t.Context(), dsn)
	require.ErrorContains(t, err, "fleet_servers.sql")
	require.ErrorContains(t, err, "already exists")
	require.Len(t, done, 2)
	pgserver.Exec(t, dsn, "drop function waylume_register")
	_, err = migrations.Up(t.Context(), dsn)
	require.NoError(t, err)
}

func TestADatabaseThatWasNotMigrated(t *testing.T) {
	t.Parallel()
	fleet := open(t, pgserver.Shared(t).Database(t, "", nil))
	_, err := fleet.Register(t.Context(), registration("fra-1"))
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, "waylumed migrate")
	require.ErrorIs(t, fleet.Ping(t.Context()), registry.ErrUnavailable)
	require.NoError(t, open(t, database(t)).Ping(t.Context()))
	absent := open(t, pgserver.Shared(t).DSN("not_there"))
	require.ErrorContains(t, absent.Ping(t.Context()), "make the database")
}
