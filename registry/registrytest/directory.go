package registrytest

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var directoryTests = map[string]func(*env){
	"has what a node has said": func(e *env) {
		n := e.join("fra-1", everything)
		cpu, peers := 0.25, 0.5
		n.status = registry.Status{
			Peers: 7, Connected: 5, Health: registry.Degraded, Reasons: []string{"disk: nearly full"},
			Load: registry.Load{
				Score: 0.5, CPU: &cpu, Peers: &peers, ReceivedRate: 1e9, SentRate: 2e9, ReceivedPackets: 10, SentPackets: 20, Scaling: registry.ScaleIn,
			},
		}
		n.beat()
		s := n.server()
		sameJSON(e.T, n.registration, s.Registration)
		sameJSON(e.T, n.status, s.Status)
		require.Equal(e, n.Incarnation, s.Incarnation)
		require.False(e, s.Draining)
		require.Zero(e, s.Assigned)
		require.False(e, s.RegisteredAt.IsZero())
		require.False(e, s.HeartbeatAt.Before(s.RegisteredAt))
	},
	"has what a node leaves out": func(e *env) {
		n := e.join("fra-1")
		s := n.server()
		require.Equal(e, registry.DefaultPool, s.Pool)
		require.Equal(e, "fra-1", s.Audience)
		require.Nil(e, s.Position)
		require.False(e, s.EndpointV6.IsValid())
	},
	"has what a node says anew": func(e *env) {
		n := e.join("fra-1", everything)
		n.registration = registration("fra-1")
		n.registration.PublicKey = key("fra-1")
		n.registration.Version = "v2"
		n.register()
		sameJSON(e.T, n.registration.WithDefaults(), n.server().Registration)
	},
	"lists by name what a filter lets through": func(e *env) {
		place := func(region, country, city, pool string) func(*registry.Registration) {
			return func(r *registry.Registration) { r.Region, r.Country, r.City, r.Pool = region, country, city, pool }
		}
		e.join("b", place("eu", "DE", "Frankfurt", ""))
		e.join("c", place("eu", "DE", "Berlin", "gold"))
		a := e.join("a", place("us", "US", "Chicago", ""))
		list := func(f registry.Filter) string {
			e.Helper()
			servers, err := e.Directory.List(e.ctx, f)
			require.NoError(e, err)
			var names strings.Builder
			for _, s := range servers {
				names.WriteString(s.Name)
			}
			return names.String()
		}
		require.Equal(e, "abc", list(registry.Filter{}))
		require.Equal(e, "ab", list(registry.Filter{Pool: registry.DefaultPool}))
		require.Equal(e, "bc", list(registry.Filter{Region: "eu"}))
		require.Equal(e, "a", list(registry.Filter{Country: "US"}))
		require.Equal(e, "b", list(registry.Filter{Country: "DE", City: "Frankfurt"}))
		require.Equal(e, "abc", list(registry.Filter{Online: true}))
		e.Advance(long)
		e.beatAll(a)
		require.Equal(e, "bc", list(registry.Filter{Fresh: registry.DefaultFreshness}))
		require.Equal(e, "abc", list(registry.Filter{Fresh: 2 * long}))
		require.Equal(e, "bc", list(registry.Filter{Online: true}))
		require.Equal(e, "abc", list(registry.Filter{}))
		e.nodes[0].status.Health = registry.Failing
		e.nodes[0].beat()
		require.NoError(e, e.nodes[1].reg.Drain(e.ctx, e.nodes[1].Server, true))
		require.Empty(e, list(registry.Filter{Online: true}))
		require.NoError(e, a.reg.Deregister(e.ctx, a.Server))
		require.Equal(e, "bc", list(registry.Filter{}))
	},
	"draining is what the node or the fleet wants": func(e *env) {
		n := e.join("fra-1")
		require.NoError(e, n.reg.Drain(e.ctx, n.Server, true))
		require.True(e, n.server().Draining)
		require.NoError(e, n.reg.Drain(e.ctx, n.Server, false))
		require.False(e, n.server().Draining)
		n.draining = true
		n.beat()
		require.True(e, n.server().Draining)
		n.draining = false
		n.beat()
		require.False(e, n.server().Draining)
		if e.SetDraining == nil {
			return
		}
		require.NoError(e, e.SetDraining(e.ctx, n.Server, true))
		n.beat()
		require.NoError(e, n.reg.Drain(e.ctx, n.Server, false))
		require.True(e, n.server().Draining, "the fleet's wish outlives the node's")
		require.NoError(e, e.SetDraining(e.ctx, n.Server, false))
		require.False(e, n.server().Draining)
	},
	"selects as the rule says": func(e *env) {
		for i := range 12 {
			n := e.join(name("n", i), func(r *registry.Registration) {
				r.Region = []string{"eu", "us"}[i%2]
				r.Capacity.Peers = 100 * i
				if i%3 != 0 {
					r.Position = &registry.Position{Latitude: float64(40 + i), Longitude: float64(5 * i)}
				}
				if i%4 == 0 {
					r.Features = []string{"ipv6", "kernel"}
				}
				if i == 11 {
					r.APIURL = ""
				}
			})
			n.status = registry.Status{Peers: 10 * i, Load: registry.Load{Score: float64(i) / 12}}
			n.beat()
		}
		servers, err := e.Directory.List(e.ctx, registry.Filter{})
		require.NoError(e, err)
		queries := []registry.Query{
			{}, {Region: "eu"}, {Country: "DE"}, {Features: []string{"kernel"}}, {Family: 4}, {Family: 6}, {MaxLoad: 0.5},
			{Position: &registry.Position{Latitude: 45, Longitude: 10}}, {Position: &registry.Position{Latitude: 45, Longitude: 10}, Slack: 2000},
			{Current: servers[5].ID}, {Exclude: []registry.ID{servers[5].ID, nobody}, Current: servers[5].ID}, {Pool: "none"},
		}
		for i, q := range queries {
			for k := range 5 {
				q.SessionKey = name("key", k)
				got, err := e.Directory.Select(e.ctx, q)
				want := registry.Select(servers, q, got.At)
				require.Equal(e, want.Verdicts, got.Verdicts, "query %d", i)
				require.Equal(e, want.Server.ID, got.Server.ID)
				if want.Server.ID == "" {
					require.ErrorIs(e, err, registry.ErrNoServer)
				} else {
					require.NoError(e, err)
					sameJSON(e.T, want.Server.Registration, got.Server.Registration)
				}
			}
		}
	},
	"selects by the registry's clock": func(e *env) {
		n := e.join("fra-1")
		e.Advance(long)
		selection, err := e.Directory.Select(e.ctx, registry.Query{})
		require.ErrorIs(e, err, registry.ErrNoServer)
		require.Equal(e, registry.Stale, selection.Verdicts[0].Reason)
		n.beat()
		_, err = e.Directory.Select(e.ctx, registry.Query{})
		require.NoError(e, err)
	},
	"without a session key draws at random": func(e *env) {
		e.join("a")
		e.join("b")
		chosen := make(map[registry.ID]bool)
		for range 64 { // all the same once in 2^63 times
			selection, err := e.Directory.Select(e.ctx, registry.Query{})
			require.NoError(e, err)
			chosen[selection.Server.ID] = true
		}
		require.Len(e, chosen, 2)
	},
	"refuses an invalid query": func(e *env) {
		_, err := e.Directory.Select(e.ctx, registry.Query{Family: 5})
		require.ErrorIs(e, err, registry.ErrInvalid)
	},
	"of nothing has nothing": func(e *env) {
		servers, err := e.Directory.List(e.ctx, registry.Filter{})
		require.NoError(e, err)
		require.Empty(e, servers)
		_, err = e.Directory.Select(e.ctx, registry.Query{})
		require.ErrorIs(e, err, registry.ErrNoServer)
	},
}

// everything is a registration that leaves nothing out.
func everything(r *registry.Registration) {
	r.EndpointV6 = netip.MustParseAddrPort("[2001:db8::1]:51820")
	r.Audience = "audience"
	r.Location = registry.Location{
		Region: "eu-central", Country: "DE", City: "Köln", Position: &registry.Position{Latitude: 50.9375, Longitude: -6.9603},
	}
	r.Pool = "gold"
	r.Capacity = registry.Capacity{Peers: 500, Rate: 10_000_000_000}
	r.Version = "v1.2.3"
	r.Features = []string{"ipv6", "kernel"}
}

// sameJSON compares as the wire sees it.
func sameJSON(t *testing.T, want, got any) {
	t.Helper()
	w, err := json.Marshal(want)
	require.NoError(t, err)
	g, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(w), string(g))
}
