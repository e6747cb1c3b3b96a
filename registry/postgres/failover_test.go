package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
)

// A primary is killed, its standby is promoted: what was committed is there, and nodes and control planes find it by themselves.
func TestFailoverToAStandby(t *testing.T) {
	t.Parallel()
	primary := pgserver.Start(t)
	require.NoError(t, migrated(t.Context(), primary.DSN("postgres")))
	standby := primary.Standby(t)
	dsn := primary.DSNAt(primary.Addr()+","+standby.Addr(), "postgres") + "&target_session_attrs=read-write"
	fleet := open(t, dsn)
	r := join(t, fleet, "fra-1")
	beat := registry.Heartbeat{Server: r.Server, Incarnation: 1, Sequence: 1}
	_, err := fleet.Heartbeat(t.Context(), beat)
	require.NoError(t, err)
	session := begin(t, fleet, "ann")
	copied := sqlConn(t, standby.DSN("postgres"))
	require.Eventually(t, func() bool {
		return ask[int](t, copied, "select count(*) from vpn_sessions") == 1
	}, 20*time.Second, 20*time.Millisecond)

	watched := make(chan registry.Change)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := range fleet.Watch(ctx) {
			if err != nil {
				return
			}
			select {
			case watched <- c:
			case <-ctx.Done():
			}
		}
	}()
	require.Equal(t, r.Server, (<-watched).Server.ID)

	primary.Kill(t)
	beat.Sequence++
	_, err = fleet.Heartbeat(t.Context(), beat)
	require.ErrorIs(t, err, registry.ErrUnavailable, "a standby takes no heartbeats")
	standby.Promote(t)
	require.Eventually(t, func() bool {
		_, err = fleet.Heartbeat(t.Context(), beat)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	again, err := fleet.Session(t.Context(), session.ID)
	require.NoError(t, err)
	require.Equal(t, session, again)
	require.NoError(t, fleet.Drain(t.Context(), r.Server, true))
	for c := range watched {
		if c.Server.Draining {
			break
		}
	}
	cancel()
	<-done
}

// A server that stops taking writes while connections are open is left for one that does.
func TestAServerThatBecomesReadOnly(t *testing.T) {
	t.Parallel()
	one, other := pgserver.Start(t), pgserver.Start(t)
	for _, s := range []*pgserver.Server{one, other} {
		require.NoError(t, migrated(t.Context(), s.DSN("postgres")))
		pgserver.Exec(t, s.DSN("postgres"), "alter role postgres password 'same'")
	}
	dsn := "postgres://postgres:same@" + one.Addr() + "," + other.Addr() + "/postgres?sslmode=disable&target_session_attrs=read-write"
	fleet := open(t, dsn)
	join(t, fleet, "fra-1")
	one.Reload(t, map[string]string{"default_transaction_read_only": "on"})
	require.Eventually(t, func() bool {
		conn := sqlConn(t, "postgres://postgres:same@"+one.Addr()+"/postgres?sslmode=disable")
		return ask[string](t, conn, "show default_transaction_read_only") == "on"
	}, 20*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := fleet.Register(t.Context(), registration("fra-2"))
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	servers, err := open(t, "postgres://postgres:same@"+other.Addr()+"/postgres?sslmode=disable").List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	require.Len(t, servers, 1)
	require.Equal(t, "fra-2", servers[0].Name)
}
