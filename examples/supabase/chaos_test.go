package supabase_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/chaos"
	"github.com/waylume/waylume/internal/testutil/edge"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase"
)

// host is HOST:PORT of a URL.
func host(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u.Host
}

// Whatever happens on the way to the database, a node is answered in time, and all works again when it is over.
func TestChaosOnTheWayToTheDatabase(t *testing.T) {
	database := edge.Database(t, pgserver.Shared(t))
	proxy := chaos.New(t, host(t, database))
	f := fleetAt(t, database, edge.Config{Env: map[string]string{"WAYLUME_DB_URL": edge.At(t, database, proxy.Addr())}})
	n := f.enrolled("fra-1")
	sequence := 0
	next := func() answer {
		sequence++
		return f.ask(n.signed("/node-heartbeat", n.heartbeat(sequence)))
	}
	for _, c := range []struct {
		name   string
		faults chaos.Faults
		fails  bool
	}{
		{"slow", chaos.Faults{Delay: 50 * time.Millisecond}, false},
		{"narrow", chaos.Faults{Rate: 20_000}, false},
		{"refused", chaos.Faults{Refuse: true}, false}, // connections that there are go on
		{"refused and cut", chaos.Faults{Refuse: true, Reset: 1}, true},
		{"reset now and then", chaos.Faults{Reset: 700}, true},
		{"silent", chaos.Faults{Silent: true}, true},
		{"half open", chaos.Faults{Silent: true, Direction: chaos.ToClient}, true},
		{"garbled to the functions", chaos.Faults{Garble: 97, Direction: chaos.ToClient}, true},
		{"garbled to the database", chaos.Faults{Garble: 61, Direction: chaos.ToServer}, true},
	} {
		require.Equal(t, http.StatusOK, next().status, "before: %s", c.name)
		proxy.Set(c.faults)
		failed, tries := false, 3
		if c.faults.Silent {
			tries = 1 // which takes as long as a transaction may
		}
		for range tries {
			begun := time.Now()
			a := next()
			require.Less(t, time.Since(begun), 30*time.Second, c.name)
			switch {
			case a.status == http.StatusOK:
			case strings.HasPrefix(c.name, "garbled"):
				require.NotEmpty(t, a.problem(), "%s: %v", c.name, a.body)
				failed = true
			default:
				f.refused(a, http.StatusServiceUnavailable, "unavailable")
				failed = true
			}
		}
		require.True(t, failed || !c.fails, c.name)
		proxy.Set(chaos.Faults{})
		proxy.Sever()
		require.Eventually(t, func() bool { return next().status == http.StatusOK }, 30*time.Second, 50*time.Millisecond, c.name)
	}
}

// Whatever happens on the way to the functions, each report counts once, and a node gets through in the end.
func TestChaosOnTheWayToTheFunctions(t *testing.T) {
	f := fleetAt(t, edge.Database(t, pgserver.Shared(t)), edge.Config{TLS: true})
	proxy := chaos.New(t, host(t, f.URL))
	cfg, r := f.config(), registration(t, "fra-1")
	cfg.URLs = []string{"https://" + proxy.Addr() + "/functions/v1"}
	registered, err := supabase.Enroll(t.Context(), supabase.EnrollConfig{Config: cfg, Token: f.token(r.Name), Registration: r})
	require.NoError(t, err)
	cfg.Timeout, cfg.ConnectTimeout, cfg.HeaderTimeout = 2*time.Second, time.Second, time.Second // what comes too late is sent again
	client, err := supabase.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })

	report := registry.UsageReport{
		Server: registered.Server, Usages: []registry.PeerUsage{{PublicKey: r.PublicKey, Download: 1000, Upload: 1}},
	}
	send := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := client.ReportUsage(ctx, report)
		return err
	}
	for _, faults := range []chaos.Faults{
		{Delay: 20 * time.Millisecond},
		{Refuse: true, Reset: 1},
		{Reset: 900},
		{Reset: 2500},
		{Reset: 4000},
		{Silent: true},
		{Silent: true, Direction: chaos.ToClient},
		{Silent: true, Direction: chaos.ToServer},
		{Garble: 300},
		{Garble: 1000, Direction: chaos.ToClient},
		{Rate: 3000},
	} {
		report.Sequence++
		report.From, report.To = time.Now().UTC().Add(-time.Second), time.Now().UTC()
		proxy.Set(faults)
		for range 2 {
			if err := send(); err != nil {
				require.ErrorIs(t, err, registry.ErrUnavailable, "%+v", faults)
			}
		}
		proxy.Set(chaos.Faults{})
		proxy.Sever()
		require.Eventually(t, func() bool { return send() == nil }, 30*time.Second, 50*time.Millisecond, "%+v", faults)
	}
	reports := report.Sequence
	require.Equal(t, reports, value[int64](f, "select usage_sequence from waylume_servers"))
	require.Equal(t, reports*1000, value[int64](f, "select sum(download)::bigint from vpn_usage"))
	require.Equal(t, reports, value[int64](f, "select count(*) from vpn_usage"))
}

// A URL that does not work is left for the next, and both are of one fleet.
func TestAnotherURLTakesOver(t *testing.T) {
	database := edge.Database(t, pgserver.Shared(t))
	f, second := fleetAt(t, database, edge.Config{}), fleetAt(t, database, edge.Config{})
	proxy := chaos.New(t, host(t, f.URL))
	cfg := f.config()
	cfg.URLs = []string{"http://" + proxy.Addr() + "/functions/v1", second.URL}
	client, registered := f.open(cfg, registration(t, "fra-1"))
	h := registry.Heartbeat{Server: registered.Server, Incarnation: 1}
	heartbeat := func(c *supabase.Client) {
		h.Sequence++
		_, err := c.Heartbeat(t.Context(), h)
		require.NoError(t, err)
	}
	heartbeat(client)
	require.Empty(t, second.Log())
	proxy.Set(chaos.Faults{Refuse: true, Reset: 1})
	heartbeat(client)
	f.Stop()
	heartbeat(client)
	require.Equal(t, 3, value[int](f, "select heartbeat_sequence from waylume_servers"))
}
