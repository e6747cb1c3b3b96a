package fleettest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/placement"
	"github.com/waylume/waylume/registry/postgres"
	"github.com/waylume/waylume/wgnode/fleet/nodes"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

// fleet is all of it: a database, a control plane, hosts and clients.
type fleet struct {
	t        *testing.T // what is started lives as long
	postgres *pgserver.Server
	db       *pgxpool.Pool // to look behind the registry
	registry *postgres.Fleet
	ca       *authority
	key      sign.Key
	nodes    *nodes.Nodes
	internet *internet
	hosts    []*host
	phones   []*phone
	log      journal // the control plane's

	controller *placement.Controller
	halt       func()
}

// newFleet has the database and the hosts, and starts no daemon.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	netns.Require(t)
	f := &fleet{t: t, internet: newInternet(t), ca: newAuthority(t)}
	f.postgres = pgserver.StartConfig(t, pgserver.Config{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	dsn := f.postgres.Database(t, "", nil)
	public := filepath.Join(t.TempDir(), "control.pem")
	f.key = newKey(t, public)
	keys := []map[string]any{{"kid": f.key.ID(), "alg": "EdDSA", "file": public, "scopes": []string{"peers:read", "peers:write"}}}
	for i, h := range []struct {
		name, dataplane string
		position        registry.Position
	}{
		{"fra-1", "kernel", registry.Position{Latitude: 50.1, Longitude: 8.7}},
		{"ams-1", "kernel", registry.Position{Latitude: 52.4, Longitude: 4.9}},
		{"waw-1", "userspace", registry.Position{Latitude: 52.2, Longitude: 21.0}},
	} {
		host := newHost(t, i, h.name, h.dataplane, h.position, f.internet)
		f.ca.certify(t, host)
		host.configure(t, f.dsn(t, dsn, host.gateway), keys)
		f.hosts = append(f.hosts, host)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the control plane's log:\n%s", f.log.String())
			for _, h := range f.hosts {
				text := h.log.String()
				t.Logf("%s's log:\n%s", h.name, text[max(0, len(text)-6000):])
			}
		}
	})
	f.hosts[0].waylumed(t, "migrate", "--database", f.dsn(t, dsn, f.hosts[0].gateway))
	var err error
	f.db, err = pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(f.db.Close)
	f.registry, err = postgres.New(postgres.Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.registry.Close()) })
	f.nodes, err = nodes.New(nodes.Config{Key: f.key, Subject: "control-plane", TLS: f.ca.trusted()})
	require.NoError(t, err)
	t.Cleanup(f.nodes.Close)
	f.controller, err = placement.New(placement.Config{
		Sessions: f.registry, Directory: f.registry, Nodes: f.nodes, Moved: f.moved, Freshness: freshness, Interval: time.Second,
		Timeout: 20 * time.Second, CreateTimeout: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	return f
}

// dsn is that of the database as a host reaches it.
func (f *fleet) dsn(t *testing.T, local string, at netip.Addr) string {
	t.Helper()
	u, err := url.Parse(local)
	require.NoError(t, err)
	u.Host = net.JoinHostPort(at.String(), u.Port())
	return u.String()
}

// moved gives a client the configuration of another server.
func (f *fleet) moved(_ context.Context, c placement.Connection) {
	for _, p := range f.phones {
		if p.name == c.Session.User {
			if err := p.apply(c); err != nil {
				_, _ = fmt.Fprintln(&f.log, "phone", p.name, "cannot apply its configuration:", err)
			}
		}
	}
}

// control runs the control plane from now on; halt ends it.
func (f *fleet) control(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.controller.Run(ctx) }()
	f.halt = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(f.halt)
}

// near is what sessions ask for: the host that is nearest to a place.
func near(p registry.Position) registry.Query {
	return registry.Query{Position: &p, Slack: 1, Freshness: int(freshness / time.Second), MaxLoad: 1}
}

// connect has a client's session begin at the nearest host.
func (f *fleet) connect(t *testing.T, c *phone, at registry.Position) placement.Connection {
	t.Helper()
	var connection placement.Connection
	eventually(t, c.name+" is connected", func() bool {
		var err error
		connection, err = f.controller.Connect(t.Context(), registry.NewSession{
			User: c.name, IdempotencyKey: c.name, PublicKey: c.public(), Query: near(at),
			Peer: fmt.Appendf(nil, `{"name":%q,"addresses":["10.77.0.%d"]}`, c.name, 10+c.number),
		})
		if err != nil {
			_, _ = fmt.Fprintln(&f.log, "connect", c.name, err)
		}
		return err == nil
	})
	require.NoError(t, c.apply(connection))
	return connection
}

// session is a client's as the registry has it.
func (f *fleet) session(t *testing.T, c *phone) registry.Session {
	t.Helper()
	id := value[string](t, f, "select id::text from vpn_sessions where user_id = $1", c.name)
	s, err := f.registry.Session(t.Context(), registry.SessionID(id))
	require.NoError(t, err)
	return s
}

// owner is the host that a client's session is on.
func (f *fleet) owner(t *testing.T, c *phone) *host {
	t.Helper()
	id := f.session(t, c).Server
	for _, h := range f.hosts {
		if f.server(t, h).ID == id {
			return h
		}
	}
	require.Failf(t, "no such server", "%s", id)
	return nil
}

// server is a host as the registry has it.
func (f *fleet) server(t *testing.T, h *host) registry.Server {
	t.Helper()
	all, err := f.registry.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	for _, s := range all {
		if s.Name == h.name {
			return s
		}
	}
	return registry.Server{}
}

// online waits until the registry would place sessions on these hosts.
func (f *fleet) online(t *testing.T, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		eventually(t, h.name+" is online", func() bool {
			all, err := f.registry.List(t.Context(), registry.Filter{Fresh: freshness, Online: true})
			if err != nil {
				return false
			}
			for _, s := range all {
				if s.Name == h.name {
					return true
				}
			}
			return false
		})
	}
}

// settled waits until a session is active on another host than one, its client goes by that, and no other host has the peer.
func (f *fleet) settled(t *testing.T, c *phone, not *host, among ...*host) *host {
	t.Helper()
	var owner *host
	eventually(t, c.name+" has moved, and its peer is on its owner alone", func() bool {
		s := f.session(t, c)
		owner = f.owner(t, c)
		generation, _ := c.now()
		if owner == not || s.State != registry.Active || generation != s.Generation {
			return false
		}
		for _, h := range among {
			has, ok := h.has(t, c.public())
			if ok != (h == owner) || ok && has != fmt.Sprint(s.Generation) {
				return false
			}
		}
		return true
	})
	return owner
}

// value asks the database.
func value[T any](t *testing.T, f *fleet, sql string, args ...any) T {
	t.Helper()
	rows, err := f.db.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return v
}
