package load_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
)

func page(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/scaling.md")
	require.NoError(t, err)
	return string(raw)
}

// The numbers of the page are those of the code.
func TestDocs(t *testing.T) {
	l, doc := load.DefaultThresholds(), page(t)
	brief := func(d time.Duration) string { return strings.TrimSuffix(d.String(), "0s") }
	require.Contains(t, doc, fmt.Sprintf("| `scale_out` | score >= %.2f | %s | score < %.2f | %s |",
		l.OutAbove, brief(l.OutHold), l.OutBelow, brief(l.Settle)))
	require.Contains(t, doc, fmt.Sprintf("| `scale_in` | score <= %.2f | %s | score > %.2f | %s |",
		l.InBelow, brief(l.InHold), l.InAbove, brief(l.Settle)))
	require.Contains(t, doc, fmt.Sprintf("Every %d s, on Linux", int(load.DefaultInterval.Seconds())))
	require.Contains(t, doc, fmt.Sprintf("smoothed over %d s", int(load.DefaultSmoothing.Seconds())))
	require.Contains(t, doc, fmt.Sprintf("A server at %.2f or more", registry.DefaultMaxLoad))
	require.Equal(t, 2, strings.Count(doc, fmt.Sprintf("interval '%d seconds'", int(registry.DefaultFreshness.Seconds()))))
	all := registry.Load{CPU: new(0.0), Memory: new(0.0), Conntrack: new(0.0), Uplink: new(0.0), Peers: new(0.0)}
	for _, f := range load.Fractions(all) {
		require.Equal(t, 2, strings.Count(doc, "\n| `"+f.Name+"` |"), f.Name)
	}

	// How soon a node that is full at once says so.
	m := meter(t, load.Config{})
	memory := load.Fill{Of: 1}
	at := begin
	for m.Add(load.Sample{At: at, Memory: memory}).Scaling != registry.ScaleOut {
		at, memory.Used = at.Add(load.DefaultInterval), 1
	}
	require.Contains(t, doc, fmt.Sprintf("calls for more nodes after %d s", int(at.Sub(begin).Seconds())))
}

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// migrate makes the tables of a fleet.
func migrate(ctx context.Context, dsn string) error {
	files, err := filepath.Glob("../postgres/migrations/*.sql")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no migrations: %w", err)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	slices.Sort(files)
	for _, name := range files {
		sql, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, string(sql)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// The page's SQL says of a fleet what the page says that it does.
func TestDocsSQL(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgserver.Shared(t).Database(t, "scaling", migrate))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	blocks := sqlBlock.FindAllStringSubmatch(page(t), -1)
	require.Len(t, blocks, 3)
	rows := func(block int) []string {
		answer, err := conn.Query(t.Context(), blocks[block][1], pgx.QueryExecModeSimpleProtocol) // which answers with text
		require.NoError(t, err)
		all, err := pgx.CollectRows(answer, func(row pgx.CollectableRow) (string, error) {
			words := make([]string, len(row.FieldDescriptions()))
			into := make([]any, len(words))
			for i := range words {
				into[i] = &words[i]
			}
			err := row.Scan(into...)
			return strings.Join(words, " "), err
		})
		require.NoError(t, err)
		return all
	}
	server := func(pool, name string, score float64, scaling registry.Scaling, assigned int, draining bool) {
		const insert = `insert into waylume_servers (name, public_key, endpoint_v4, pool, load, scaling, assigned, fleet_draining, heartbeat_at)
			values ($1, $1, '192.0.2.1:51820', $2, $3, $4, $5, $6, now())`
		_, err := conn.Exec(t.Context(), insert, name, pool, score, string(scaling), assigned, draining)
		require.NoError(t, err)
	}
	server("busy", "b1", 0.9, registry.ScaleOut, 5, false)
	server("busy", "b2", 0.85, registry.ScaleOut, 5, false)
	server("busy", "b3", 0.5, registry.Steady, 5, false)
	server("busy", "b4", 0.1, registry.Steady, 0, true)
	server("half", "h1", 0.9, registry.ScaleOut, 5, false)
	server("half", "h2", 0.3, registry.Steady, 4, false)
	server("idle", "i1", 0.1, registry.ScaleIn, 3, false)
	server("idle", "i2", 0.2, registry.ScaleIn, 1, false)
	server("idle", "i3", 0.1, registry.ScaleIn, 2, false)
	server("pair", "p1", 0.1, registry.ScaleIn, 3, false)
	server("pair", "p2", 0.1, registry.ScaleIn, 3, false)
	_, err = conn.Exec(t.Context(), "update waylume_servers set heartbeat_at = now() - interval '2 minutes' where name = 'p2'")
	require.NoError(t, err)
	require.Equal(t, []string{"busy 3 0.75 4 add", "half 2 0.60 2 keep", "idle 3 0.13 1 remove", "pair 1 0.10 1 keep"}, rows(0))

	chosen := rows(1)
	require.Len(t, chosen, 4)
	for i, want := range []string{"b3 5", "h2 4", "i2 1", "p1 3"} {
		require.True(t, strings.HasSuffix(chosen[i], " "+want), chosen[i])
	}

	require.Empty(t, rows(2))
	for range 2 {
		_, err = conn.Exec(t.Context(), `update waylume_servers
			set scaling = case scaling when 'steady' then 'scale_in' else 'steady' end where name in ('b3', 'i1')`)
		require.NoError(t, err)
	}
	_, err = conn.Exec(t.Context(), "update waylume_servers set scaling = 'steady' where name = 'i2'")
	require.NoError(t, err)
	changes := rows(2)
	require.Len(t, changes, 3)
	for i, want := range []string{"b3 2 ", "i1 2 ", "i2 1 "} {
		require.True(t, strings.HasPrefix(changes[i], want), changes[i])
	}
}
