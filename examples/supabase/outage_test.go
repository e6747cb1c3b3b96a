package supabase_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase"
)

// lossy hands requests on to the functions, and loses answers when it is told to: what was asked has been done then.
type lossy struct {
	url  string
	lose atomic.Int32 // how many
	lost atomic.Int32
}

func newLossy(f *fleet) *lossy {
	f.t.Helper()
	target, err := url.Parse(f.URL)
	require.NoError(f.t, err)
	l := &lossy{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host}) },
		ModifyResponse: func(*http.Response) error {
			if l.lose.Add(-1) < 0 {
				return nil
			}
			l.lost.Add(1)
			return errors.New("lost")
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(proxy)
	f.t.Cleanup(server.Close)
	l.url = server.URL + target.Path
	return l
}

// An answer that is lost is asked for again, and nothing is done twice.
func TestAnswersThatAreLost(t *testing.T) {
	f := newFleet(t)
	l := newLossy(f)
	cfg, r := f.config(), registration(t, "fra-1")
	cfg.URLs = []string{l.url}
	// until asks until there is an answer, of which as many are lost as it says.
	until := func(lost int32, ask func() error) {
		t.Helper()
		l.lose.Store(lost)
		l.lost.Store(0)
		for range lost + 1 { // the client itself asks again over a new connection, if that was an old one
			err := ask()
			if err == nil {
				break
			}
			require.ErrorIs(t, err, registry.ErrUnavailable)
		}
		require.Negative(t, l.lose.Load(), "the last answer has come")
		require.Equal(t, lost, l.lost.Load())
	}
	token := f.token("")
	until(2, func() error {
		_, err := supabase.Enroll(t.Context(), supabase.EnrollConfig{Config: cfg, Token: token, Registration: r})
		return err
	})
	require.Equal(t, 1, value[int](f, "select count(*) from fleet_credentials"))
	require.Equal(t, 1, value[int](f, "select incarnation from waylume_servers"))

	client, err := supabase.Open(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	var registered registry.Registered
	until(1, func() error {
		registered, err = client.Register(t.Context(), r)
		return err
	})
	heartbeat := registry.Heartbeat{Server: registered.Server, Incarnation: registered.Incarnation, Sequence: 1}
	until(1, func() error {
		_, err := client.Heartbeat(t.Context(), heartbeat)
		return err
	})
	now := time.Now().UTC()
	until(3, func() error {
		receipt, err := client.ReportUsage(t.Context(), registry.UsageReport{
			Server: registered.Server, Sequence: 1, From: now, To: now, Usages: []registry.PeerUsage{{PublicKey: r.PublicKey, Download: 5}},
		})
		require.True(t, err != nil || receipt.Sequence == 1)
		return err
	})
	require.Equal(t, 5, value[int](f, "select sum(download)::int from vpn_usage"))
	until(1, func() error { return client.Drain(t.Context(), registered.Server, true) })
	until(2, func() error { return client.Rotate(t.Context()) })
	until(1, func() error {
		heartbeat.Sequence++
		_, err := client.Heartbeat(t.Context(), heartbeat)
		return err
	})
	require.Equal(t, 1, value[int](f, "select count(*) from fleet_credentials where revoked_at is null"))
	until(2, func() error { return client.Deregister(t.Context(), registered.Server) })
}

// beat sends heartbeats until one has been answered as wanted.
func beat(t *testing.T, client *supabase.Client, h *registry.Heartbeat, wanted error) time.Duration {
	t.Helper()
	begun := time.Now()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		h.Sequence++
		_, err := client.Heartbeat(ctx, *h)
		if wanted == nil {
			return err == nil
		}
		require.ErrorIs(t, err, wanted)
		return true
	}, 60*time.Second, 50*time.Millisecond)
	return time.Since(begun)
}

// Without their database the functions say so, in time, and work again by themselves when it is back.
func TestADatabaseThatIsDown(t *testing.T) {
	server := pgserver.Start(t)
	f := fleetAt(t, edge.Database(t, server), edge.Config{})
	client, registered := f.open(f.config(), registration(t, "fra-1"))
	n := f.enrolled("fra-2")
	h := registry.Heartbeat{Server: registered.Server, Incarnation: 1}
	beat(t, client, &h, nil)

	for name, end := range map[string]func(testing.TB){"stopped": server.Stop, "killed": server.Kill} {
		end(t)
		for range 3 {
			a := f.ask(n.signed("/node-heartbeat", n.heartbeat(1)))
			f.refused(a, http.StatusServiceUnavailable, "unavailable")
			require.NotEmpty(t, a.header.Get("Retry-After"), name)
		}
		f.refused(f.node("fra-3").enroll(base64Token()), http.StatusServiceUnavailable, "unavailable")
		beat(t, client, &h, registry.ErrUnavailable)
		server.Restart(t)
		beat(t, client, &h, nil)
	}
	require.Equal(t, h.Sequence, value[int64](f, "select heartbeat_sequence from waylume_servers where name = 'fra-1'"))
}

// base64Token is in the form of a token.
func base64Token() string { return "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }

// Whoever holds a lock does not keep a node waiting without an answer.
func TestADatabaseThatIsBusy(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	tx, err := f.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "lock table waylume_servers in access exclusive mode")
	require.NoError(t, err)
	f.refused(f.ask(n.signed("/node-heartbeat", n.heartbeat(1))), http.StatusServiceUnavailable, "unavailable")
	require.NoError(t, tx.Rollback(t.Context()))
	n.say("/node-heartbeat", n.heartbeat(1))
}

// Connections that the database ends are replaced.
func TestConnectionsThatAreCut(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	for sequence := range 5 {
		rows, err := f.db.Query(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
			where application_name = 'waylume-functions' and datname = current_database()`)
		require.NoError(t, err)
		cut, err := pgx.CollectRows(rows, pgx.RowTo[bool])
		require.NoError(t, err)
		require.NotEmpty(t, cut)
		var a answer
		require.Eventually(t, func() bool {
			a = f.ask(n.signed("/node-heartbeat", n.heartbeat(sequence+1)))
			return a.status != http.StatusServiceUnavailable
		}, 20*time.Second, 20*time.Millisecond)
		require.Equal(t, http.StatusOK, a.status, a.body)
	}
}
