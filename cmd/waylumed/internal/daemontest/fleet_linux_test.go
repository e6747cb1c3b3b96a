package daemontest

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/postgres"
	"github.com/waylume/waylume/registry/postgres/migrations"
	"github.com/waylume/waylume/registry/supabase/supabasetest"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// controlled is a fleet that daemons reach over HTTP, and that can be away.
type controlled struct {
	fleet  *memory.Fleet
	front  *supabasetest.Fleet
	server *httptest.Server
	away   atomic.Bool
	key    sign.Key // the control plane's
}

func newControlled(t *testing.T) *controlled {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	c := new(controlled)
	c.key, err = sign.Ed25519("control-1", private)
	require.NoError(t, err)
	c.fleet, err = memory.New(memory.Config{Interval: time.Second})
	require.NoError(t, err)
	c.front = supabasetest.New(supabasetest.Config{Registry: c.fleet, ControlKeys: json.RawMessage(
		`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"control-1","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`)})
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.away.Load() {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		c.front.ServeHTTP(w, r)
	}))
	t.Cleanup(c.server.Close)
	return c
}

// newMember is a site whose daemons are in the fleet.
func newMember(t *testing.T, c *controlled) *site {
	t.Helper()
	s := newSite(t, nil)
	require.NoError(t, os.WriteFile(s.path("token"), []byte(c.front.NewToken(supabasetest.Token{Name: name})+"\n"), 0o600))
	s.set(t, settings{
		"fleet.url": []string{c.server.URL}, "fleet.token_file": s.path("token"), "fleet.heartbeat": "1s", "fleet.usage_period": "1s",
		"fleet.api_url": "https://127.0.0.1:8443", "fleet.region": "eu", "fleet.country": "DE", "fleet.position": "50.11 8.68",
		"fleet.capacity_peers": 100, "api.rate.per_source": 100_000, "api.rate.burst": 100_000,
	})
	return s
}

// servers are those that the fleet knows.
func (c *controlled) servers(t *testing.T) []registry.Server {
	t.Helper()
	list, err := c.fleet.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	return list
}

// listed waits until the fleet knows one server that meets a condition.
func (c *controlled) listed(t *testing.T, d *daemon, what string, meets func(registry.Server) bool) (server registry.Server) {
	t.Helper()
	d.until(t, what, func() bool {
		list := c.servers(t)
		if len(list) == 1 {
			server = list[0]
		}
		return len(list) == 1 && meets(server)
	})
	return server
}

// begin begins a session.
func (c *controlled) begin(t *testing.T, key string) registry.Session {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	s, err := c.fleet.Begin(t.Context(), registry.NewSession{
		User: "user", IdempotencyKey: key, PublicKey: registry.Key(private.PublicKey()),
	})
	require.NoError(t, err)
	return s
}

// peerOf is the body that asks for a session's peer.
func peerOf(s registry.Session) map[string]any {
	return map[string]any{"public_key": s.PublicKey.String(), "labels": map[string]string{
		registry.SessionLabel: string(s.ID), registry.GenerationLabel: strconv.FormatInt(s.Generation, 10),
	}}
}

const peersURL = "http://node/api/v1/peers"

// TestFleet has a daemon enroll at its first start, be listed, go on through an outage and a kill, give up a session that has
// left, refuse it when it comes late, be drained by the fleet, and say that it ends.
func TestFleet(t *testing.T) {
	c := newControlled(t)
	s := newMember(t, c)
	address := loopback(t)
	s.set(t, settings{"api.listen": []string{"unix:" + s.socket(), address}})
	control := signing(&http.Client{Timeout: patience}, c.key, claims(readPeers, writePeers))
	c.away.Store(true)
	d := s.start(t) // that the fleet is away keeps nobody from being ready
	d.logs(t, "the fleet cannot be reached")
	c.away.Store(false)
	server := c.listed(t, d, "being listed", func(r registry.Server) bool { return r.Load.Memory != nil })
	require.Equal(t, name, server.Name)
	require.Equal(t, "DE", server.Country)
	require.InDelta(t, 8.68, server.Position.Longitude, 0)
	require.Equal(t, 100, server.Capacity.Peers)
	require.Equal(t, "https://127.0.0.1:8443", server.APIURL)
	require.Contains(t, d.log.String(), "the keys of the fleet's control plane were taken over")
	must[any](t, control, http.StatusOK, http.MethodGet, "http://"+address+"/api/v1/peers", nil)
	client := s.unix()
	defer client.CloseIdleConnections()

	stays, leaves := c.begin(t, "stays"), c.begin(t, "leaves")
	for _, one := range []registry.Session{stays, leaves} {
		made := must[api.CreatedPeer](t, client, http.StatusCreated, http.MethodPost, peersURL, peerOf(one))
		_, err := c.fleet.Confirm(t.Context(), one.ID, one.Generation, made.Addresses)
		require.NoError(t, err)
	}
	c.listed(t, d, "telling of its peers", func(r registry.Server) bool { return r.Peers == 2 })

	c.away.Store(true)
	_, err := c.fleet.End(t.Context(), leaves.ID, "over")
	require.NoError(t, err)
	d.kill()
	delete(s.settings, "fleet.token_file")
	s.set(t, nil)
	require.NoError(t, os.Remove(s.path("token"))) // it is used up
	d = s.start(t)
	require.Len(t, allPeers(t, client, "http://node"), 2, "no outage takes a peer")
	must[any](t, control, http.StatusOK, http.MethodGet, "http://"+address+"/api/v1/peers", nil)
	c.away.Store(false)
	d.until(t, "giving up what has left", func() bool { return len(allPeers(t, client, "http://node")) == 1 })
	require.Equal(t, server.ID, c.listed(t, d, "being back", func(r registry.Server) bool { return r.Incarnation > 1 && r.Peers == 1 }).ID)
	refused(t, client, http.StatusConflict, problem.Conflict, http.MethodPost, peersURL, peerOf(leaves))
	d.kill()
	d = s.start(t)
	refused(t, client, http.StatusConflict, problem.Conflict, http.MethodPost, peersURL, peerOf(leaves))

	c.listed(t, d, "being back", func(r registry.Server) bool { return r.Incarnation > 2 })
	require.NoError(t, c.fleet.SetDraining(t.Context(), server.ID, true))
	d.until(t, "being drained", func() bool {
		return must[api.Node](t, client, http.StatusOK, http.MethodGet, "http://node/api/v1/node", nil).Draining
	})
	require.NoError(t, c.fleet.SetDraining(t.Context(), server.ID, false))
	d.until(t, "taking peers again", func() bool {
		return !must[api.Node](t, client, http.StatusOK, http.MethodGet, "http://node/api/v1/node", nil).Draining
	})
	status, out := s.waylumed(t, "drain", "--state", s.path("state"))
	require.Zero(t, status, out)
	c.listed(t, d, "telling that it is drained", func(r registry.Server) bool { return r.Draining })
	status, out = s.waylumed(t, "undrain", "--state", s.path("state"))
	require.Zero(t, status, out)
	c.listed(t, d, "telling that it is not", func(r registry.Server) bool { return !r.Draining })

	status, out = s.waylumed(t, "fleet", "status", "--state", s.path("state"))
	require.Zero(t, status, out)
	require.Contains(t, out, "phase: joined")
	require.Contains(t, out, string(server.ID))
	before := c.front.Credentials()
	status, out = s.waylumed(t, "fleet", "rotate", "--state", s.path("state"))
	require.Zero(t, status, out)
	d.until(t, "using another key", func() bool {
		now := c.front.Credentials()
		return len(now) == 1 && now[0] != before[0]
	})

	d.stop(t)
	require.True(t, c.servers(t)[0].Draining, "it has said that it ends")
	require.NotContains(t, d.log.String(), "panic")

	d = s.start(t)
	c.listed(t, d, "being back", func(r registry.Server) bool { return !r.Draining })
	status, out = s.waylumed(t, "fleet", "leave", "--state", s.path("state"))
	require.Zero(t, status, out)
	require.Empty(t, c.servers(t))
	status, out = s.waylumed(t, "fleet", "status", "--state", s.path("state"))
	require.Equal(t, 1, status)
	require.Contains(t, out, "phase: left")
	require.Len(t, allPeers(t, client, "http://node"), 1)
	require.NotContains(t, d.log.String(), stays.PublicKey.String())
}

// TestFleetDatabase has a daemon join by a database that it asks itself, without a token, and be the same after a kill.
func TestFleetDatabase(t *testing.T) {
	dsn := pgserver.Shared(t).Database(t, "fleet", func(ctx context.Context, dsn string) error {
		_, err := migrations.Up(ctx, dsn)
		return err
	})
	fleet, err := postgres.New(postgres.Config{DSN: dsn})
	require.NoError(t, err)
	defer func() { require.NoError(t, fleet.Close()) }()
	s := newSite(t, settings{"fleet.heartbeat": "1s", "fleet.api_url": "https://127.0.0.1:8443"})
	s.env = append(s.env, "WAYLUME_FLEET_DATABASE="+dsn)
	var server registry.Server
	for range 2 {
		d := s.start(t)
		before := server
		d.until(t, "being listed", func() bool {
			list, err := fleet.List(t.Context(), registry.Filter{Online: true})
			require.NoError(t, err)
			if len(list) == 1 {
				server = list[0]
			}
			return len(list) == 1 && server.Incarnation > before.Incarnation
		})
		require.Equal(t, name, server.Name)
		if before.ID != "" {
			require.Equal(t, before.ID, server.ID)
		}
		require.NotContains(t, d.log.String(), dsn)
		d.kill()
	}
}
