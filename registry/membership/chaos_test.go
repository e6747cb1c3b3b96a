package membership

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/chaos"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres"
	"github.com/waylume/waylume/registry/postgres/migrations"
)

// TestChaos has a node be in a fleet on a real PostgreSQL, and the network between them fail in each way while sessions end and usage
// comes up: it recovers by itself, carries out each release, and what was used is there once.
func TestChaos(t *testing.T) {
	c := newChaosRig(t)
	for _, f := range []struct {
		name   string
		faults chaos.Faults
		sever  bool
	}{
		{"slow", chaos.Faults{Delay: 150 * time.Millisecond}, false},
		{"slower than the time-out", chaos.Faults{Delay: 3 * time.Second}, false},
		{"throttled", chaos.Faults{Rate: 2000}, false},
		{"refused", chaos.Faults{Refuse: true}, true},
		{"cut off once", chaos.Faults{}, true},
		{"silent", chaos.Faults{Silent: true}, false},
		{"answers are lost", chaos.Faults{Silent: true, Direction: chaos.ToClient}, false},
		{"requests are lost", chaos.Faults{Silent: true, Direction: chaos.ToServer}, false},
		{"reset in the middle of a request", chaos.Faults{Reset: 700}, false},
		{"reset again and again", chaos.Faults{Reset: 3000}, true},
		{"garbled requests", chaos.Faults{Garble: 3, Direction: chaos.ToServer}, false},
		{"garbled answers", chaos.Faults{Garble: 3, Direction: chaos.ToClient}, false},
	} {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			session := c.begin(t)
			c.proxy.Set(f.faults)
			if f.sever {
				c.proxy.Sever()
			}
			c.end(t, session)
			c.rig.usage.append(7)
			time.Sleep(4 * time.Second) // some calls meet the fault, however the test goes on
			c.rig.usage.append(2)
			c.proxy.Set(chaos.Faults{})
			c.requireSettled(t)
		})
	}
	// Nothing of what happened makes a process after it begin anew.
	c.rig.kill()
	c.rig.start()
	c.requireSettled(t)
}

type chaosRig struct {
	rig      *rig
	proxy    *chaos.Proxy
	admin    *postgres.Fleet // past the proxy
	conn     *pgx.Conn
	sessions int
}

func newChaosRig(t *testing.T) *chaosRig {
	t.Helper()
	server := pgserver.Shared(t)
	dsn := server.Database(t, "fleet", func(ctx context.Context, dsn string) error {
		_, err := migrations.Up(ctx, dsn)
		return err
	})
	c := &chaosRig{proxy: chaos.New(t, server.Addr())}
	proxied := strings.Replace(dsn, server.Addr(), c.proxy.Addr(), 1)
	require.NotEqual(t, dsn, proxied)
	open := func(dsn string) *postgres.Fleet {
		fleet, err := postgres.New(postgres.Config{DSN: dsn, ConnectTimeout: 2 * time.Second})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, fleet.Close()) })
		return fleet
	}
	c.admin = open(dsn)
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	c.conn = conn
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })

	c.rig = newRig(t, nil, "fra-1")
	c.rig.cfg.Registry = open(proxied)
	c.rig.cfg.Interval, c.rig.cfg.UsagePeriod, c.rig.cfg.Timeout = MinInterval, MinUsagePeriod, time.Second
	c.rig.start()
	t.Cleanup(c.rig.kill)
	require.Eventually(t, func() bool { return c.rig.State().Phase == Joined }, 20*time.Second, 10*time.Millisecond)
	return c
}

// begin places a session on the node.
func (c *chaosRig) begin(t *testing.T) registry.Session {
	t.Helper()
	c.sessions++
	session, err := c.admin.Begin(t.Context(), registry.NewSession{
		User: "u", IdempotencyKey: fmt.Sprint(c.sessions), PublicKey: registry.Key{9, byte(c.sessions)},
	})
	require.NoError(t, err)
	return session
}

func (c *chaosRig) end(t *testing.T, s registry.Session) {
	t.Helper()
	_, err := c.admin.End(t.Context(), s.ID, "test")
	require.NoError(t, err)
}

// requireSettled waits until all is told, and holds the database to the node.
func (c *chaosRig) requireSettled(t *testing.T) {
	t.Helper()
	var last State
	require.Eventually(t, func() bool {
		last = c.rig.State()
		return last.Phase == Joined && last.Released == int64(c.sessions) && !last.PendingUsage && last.UsageError == nil &&
			c.reported(t) == c.used() && c.count(t, "select usage_sequence from waylume_servers") == last.UsageSequence
	}, time.Minute, 50*time.Millisecond, "%+v", &last)
	require.Equal(t, c.used(), c.reported(t))
	for s := range int64(c.sessions) {
		require.True(t, c.rig.node.has(s+1))
	}
	require.NoError(t, last.FileError)
}

func (c *chaosRig) used() (total int64) {
	c.rig.usage.set(func(l *fakeLog) {
		for _, u := range l.entries {
			total += u.Download
		}
	})
	return total
}

func (c *chaosRig) reported(t *testing.T) int64 {
	return c.count(t, "select coalesce(sum(download), 0)::bigint from vpn_usage")
}

func (c *chaosRig) count(t *testing.T, sql string) (n int64) {
	t.Helper()
	require.NoError(t, c.conn.QueryRow(t.Context(), sql).Scan(&n))
	return n
}
