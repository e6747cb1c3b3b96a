package postgres_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres"
)

// requireConsistent holds the tables to each other.
func requireConsistent(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for what, sql := range map[string]string{
		"assigned is the number of sessions": `select count(*) from waylume_servers o where assigned <>
			(select count(*) from vpn_sessions s where s.server_id = o.id and s.state <> 'ended')`,
		"releases have no gaps": `select count(*) from waylume_servers o where release_sequence <>
			(select count(*) from vpn_placements p where p.server_id = o.id and p.release_sequence is not null)`,
		"one placement is open, the latest": `select count(*) from vpn_sessions s where state <> 'ended' and not exists (
			select from vpn_placements p
			where p.session_id = s.id and p.generation = s.generation and p.server_id = s.server_id and p.released_at is null)
			or (select count(*) from vpn_placements p where p.session_id = s.id and p.released_at is null) > 1`,
		"what ended is released": `select count(*) from vpn_sessions s join vpn_placements p on p.session_id = s.id
			where s.state = 'ended' and p.released_at is null`,
		"usage adds up": `select count(*) from vpn_sessions s where download + 1000 * upload <>
			(select coalesce(sum(u.download + 1000 * u.upload), 0) from vpn_usage u where u.session_id = s.id)`,
		"usage of placements adds up": `select count(*) from vpn_sessions s where download <>
			(select sum(p.download) from vpn_placements p where p.session_id = s.id)`,
	} {
		require.Zero(t, ask[int](t, conn, sql), what)
	}
}

// Nodes, control planes and operators do all at once what they do, each over connections of its own. Nobody waits for a deadlock in vain,
// and in the end the books are right.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	const servers, users, rounds = 4, 6, 12
	var wg sync.WaitGroup
	failures := make(chan error, 100_000)
	expected := func(err error, also ...error) {
		for _, e := range also {
			if err == nil || errorIs(err, e) {
				return
			}
		}
		if err != nil {
			failures <- err
		}
	}
	control := open(t, dsn)
	nodes := make([]registry.Registered, servers)
	for i := range nodes {
		nodes[i] = join(t, control, fmt.Sprintf("n-%d", i))
	}
	for i, n := range nodes {
		fleet := open(t, dsn, func(cfg *postgres.Config) { cfg.MaxConns = 2 })
		wg.Go(func() {
			var released int64
			for round := range int64(rounds) {
				answer, err := fleet.Heartbeat(t.Context(), registry.Heartbeat{
					Server: n.Server, Incarnation: 1, Sequence: round + 1, Released: released,
				})
				expected(err)
				for _, r := range answer.Releases {
					if r.Sequence != released+1 {
						failures <- fmt.Errorf("release %d after %d", r.Sequence, released)
					}
					released = r.Sequence
				}
				var usages []registry.PeerUsage
				for u := range users {
					usages = append(usages, registry.PeerUsage{PublicKey: key(fmt.Sprintf("user-%d", (u+i)%users)), Download: 3, Upload: 1})
				}
				now := time.Now()
				_, err = fleet.ReportUsage(t.Context(), registry.UsageReport{Server: n.Server, Sequence: round + 1, From: now, To: now, Usages: usages})
				expected(err)
			}
		})
	}
	for u := range users {
		for range 2 {
			wg.Go(func() {
				user := fmt.Sprintf("user-%d", u)
				for round := range rounds {
					s, err := control.Begin(t.Context(), registry.NewSession{User: user, IdempotencyKey: fmt.Sprint(round / 3), PublicKey: key(user)})
					expected(err, registry.ErrConflict)
					if err != nil || s.State == registry.Ended {
						continue
					}
					_, err = control.Confirm(t.Context(), s.ID, s.Generation, []netip.Addr{netip.MustParseAddr("10.0.0.2")})
					expected(err, registry.ErrConflict)
					_, err = control.Move(t.Context(), s.ID, s.Generation)
					expected(err, registry.ErrConflict)
					_, err = control.Stranded(t.Context(), 0, 10)
					expected(err)
					if round%3 == 2 {
						_, err = control.End(t.Context(), s.ID, "over")
						expected(err)
					}
				}
			})
		}
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	requireConsistent(t, sqlConn(t, dsn))
}

// A heartbeat is one statement that writes to the server's row, and what it says stays on the row's page.
func TestAHeartbeatIsOneUpdate(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn, func(cfg *postgres.Config) { cfg.MaxConns = 1 })
	r := join(t, fleet, "fra-1")
	conn := sqlConn(t, dsn)
	counts := func() (updates, hot, inserts, deletes, transactions int) {
		// The backend reports what it counted when it is idle, and at once when it is asked to.
		ask[any](t, conn, "select pg_stat_clear_snapshot()")
		require.NoError(t, conn.QueryRow(t.Context(), `select n_tup_upd, n_tup_hot_upd, n_tup_ins, n_tup_del,
			(select xact_commit from pg_stat_database where datname = current_database()) from pg_stat_user_tables
			where relname = 'waylume_servers'`).Scan(&updates, &hot, &inserts, &deletes, &transactions))
		return updates, hot, inserts, deletes, transactions
	}
	const beats = 20
	for i := range int64(beats) {
		_, err := fleet.Heartbeat(t.Context(), registry.Heartbeat{
			Server: r.Server, Incarnation: 1, Sequence: i + 1, Status: registry.Status{Peers: int(i)},
		})
		require.NoError(t, err)
	}
	require.NoError(t, fleet.Close()) // its backend reports at its end
	require.Eventually(t, func() bool { updates, _, _, _, _ := counts(); return updates >= beats }, 20*time.Second, 20*time.Millisecond)
	updates, hot, inserts, deletes, _ := counts()
	require.Equal(t, beats, updates)
	require.Equal(t, beats, hot, "no index is written to")
	require.Equal(t, 1, inserts)
	require.Zero(t, deletes)
	require.Equal(t, 1, ask[int](t, conn, "select count(*) from node_events"), "figures are no events")
}

func TestEventsAreNoted(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn)
	r := join(t, fleet, "fra-1")
	other := join(t, fleet, "fra-2")
	require.NoError(t, fleet.SetDraining(t.Context(), r.Server, true))
	require.NoError(t, fleet.Drain(t.Context(), r.Server, true)) // it is already
	require.NoError(t, fleet.SetDraining(t.Context(), r.Server, false))
	beat := registry.Heartbeat{Server: r.Server, Incarnation: 1, Sequence: 1, Status: registry.Status{
		Health: registry.Degraded, Reasons: []string{"disk"}, Load: registry.Load{Score: 0.9, Scaling: registry.ScaleOut},
	}}
	_, err := fleet.Heartbeat(t.Context(), beat)
	require.NoError(t, err)
	s := begin(t, fleet, "ann")
	_, err = fleet.Move(t.Context(), s.ID, 1)
	require.NoError(t, err)
	advance(t, dsn, 2*time.Minute)
	for range 2 {
		_, err = fleet.Stranded(t.Context(), 0, 10)
		require.NoError(t, err)
	}
	require.NoError(t, fleet.Deregister(t.Context(), r.Server))
	conn := sqlConn(t, dsn)
	events := func(server registry.ID) []string {
		return ask[[]string](t, conn, "select array_agg(kind order by id) from node_events where server_id = $1", string(server))
	}
	require.ElementsMatch(t, []string{"registered", "draining", "undraining", "health", "scaling", "stale", "deregistered"},
		deleteString(events(r.Server), "session_moved"))
	require.Contains(t, append(events(r.Server), events(other.Server)...), "session_moved")
}

func TestPrune(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn)
	r := join(t, fleet, "fra-1")
	old, live := begin(t, fleet, "ann"), begin(t, fleet, "bob")
	_, err := fleet.End(t.Context(), old.ID, "over")
	require.NoError(t, err)
	now := time.Now()
	_, err = fleet.ReportUsage(t.Context(), registry.UsageReport{
		Server: r.Server, Sequence: 1, From: now, To: now, Usages: []registry.PeerUsage{{PublicKey: old.PublicKey, Download: 5}},
	})
	require.NoError(t, err)
	rows, err := fleet.Prune(t.Context(), 1)
	require.NoError(t, err)
	require.Zero(t, rows)

	advance(t, dsn, 48*time.Hour)
	beat := registry.Heartbeat{Server: r.Server, Incarnation: 1, Sequence: 1}
	answer, err := fleet.Heartbeat(t.Context(), beat)
	require.NoError(t, err)
	require.Len(t, answer.Releases, 1)
	_, err = fleet.Prune(t.Context(), 1)
	require.NoError(t, err)
	_, err = fleet.Session(t.Context(), old.ID)
	require.NoError(t, err, "the node has not released it")

	beat.Sequence, beat.Released = 2, answer.Releases[0].Sequence
	_, err = fleet.Heartbeat(t.Context(), beat)
	require.NoError(t, err)
	_, err = fleet.Prune(t.Context(), 1)
	require.NoError(t, err)
	_, err = fleet.Session(t.Context(), old.ID)
	require.ErrorIs(t, err, registry.ErrUnknownSession)
	_, err = fleet.Session(t.Context(), live.ID)
	require.NoError(t, err)
	_, err = fleet.Prune(t.Context(), 0)
	require.ErrorIs(t, err, registry.ErrInvalid)
}
