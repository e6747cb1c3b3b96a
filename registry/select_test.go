package registry_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
)

var at = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func id(i int) registry.ID { return registry.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)) }

// server is one that nothing is against.
func server(i int) registry.Server {
	return registry.Server{
		ID: id(i),
		Registration: registry.Registration{
			Name: fmt.Sprintf("n-%03d", i), APIURL: "https://192.0.2.1:8443", EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"),
			Pool: registry.DefaultPool,
		},
		HeartbeatAt: at,
	}
}

var (
	words    = rapid.SampledFrom([]string{"", "a", "b"})
	features = rapid.SliceOfN(rapid.SampledFrom([]string{"ipv6", "kernel"}), 0, 2)
	position = rapid.Custom(func(t *rapid.T) *registry.Position {
		if rapid.IntRange(0, 2).Draw(t, "known") == 0 {
			return nil
		}
		return &registry.Position{Latitude: rapid.Float64Range(-90, 90).Draw(t, "lat"), Longitude: rapid.Float64Range(-180, 180).Draw(t, "lon")}
	})
)

func often[T any](t *rapid.T, name string, usual T, others *rapid.Generator[T]) T {
	if rapid.IntRange(0, 3).Draw(t, name+" as usual") > 0 {
		return usual
	}
	return others.Draw(t, name)
}

func drawServer(t *rapid.T, i int) registry.Server {
	s := server(i)
	s.APIURL = often(t, "api", s.APIURL, rapid.Just(""))
	s.Pool = often(t, "pool", s.Pool, rapid.SampledFrom([]string{"", "gold"}))
	s.Region, s.Country, s.City = words.Draw(t, "region"), words.Draw(t, "country"), words.Draw(t, "city")
	s.Features = features.Draw(t, "features")
	s.EndpointV4 = often(t, "v4", s.EndpointV4, rapid.Just(netip.AddrPort{}))
	s.EndpointV6 = often(t, "v6", netip.AddrPort{}, rapid.Just(netip.MustParseAddrPort("[2001:db8::1]:51820")))
	s.Position = position.Draw(t, "position")
	s.HeartbeatAt = at.Add(-often(t, "age", 0, rapid.SampledFrom([]time.Duration{time.Minute, time.Minute + 1, time.Hour, -time.Hour})))
	s.Health = often(t, "health", "", rapid.SampledFrom([]registry.Health{registry.Healthy, registry.Degraded, registry.Failing}))
	s.Draining = often(t, "draining", false, rapid.Bool())
	s.Capacity.Peers = often(t, "capacity", 0, rapid.IntRange(1, 20))
	s.Peers, s.Assigned = rapid.IntRange(0, 20).Draw(t, "peers"), rapid.IntRange(0, 20).Draw(t, "assigned")
	s.Load.Score = often(t, "load", 0, rapid.Float64Range(0, 1))
	return s
}

func drawFleet(t *rapid.T) []registry.Server {
	servers := make([]registry.Server, rapid.IntRange(0, 12).Draw(t, "servers"))
	for i := range servers {
		servers[i] = drawServer(t, i)
	}
	return servers
}

func drawQuery(t *rapid.T) registry.Query {
	ids := rapid.Map(rapid.IntRange(0, 12), id)
	return registry.Query{
		Region: often(t, "region", "", words), Country: often(t, "country", "", words), City: often(t, "city", "", words),
		Pool: often(t, "pool", "", rapid.Just("gold")), Features: often(t, "features", nil, features),
		Family: often(t, "family", 0, rapid.SampledFrom([]int{4, 6})), Position: position.Draw(t, "position"),
		Slack: often(t, "slack", 0, rapid.IntRange(1, 20_000)), SessionKey: rapid.StringN(0, 10, 100).Draw(t, "key"),
		Current: often(t, "current", "", ids), Exclude: rapid.SliceOfN(ids, 0, 3).Draw(t, "exclude"),
		Freshness: often(t, "freshness", 0, rapid.IntRange(1, 86_400)), MaxLoad: often(t, "max load", 0, rapid.Float64Range(0.1, 1)),
	}
}

// The rule once more, as plainly as it can be said of one server, without regard to the others.
func meets(s registry.Server, q registry.Query) bool {
	q = q.WithDefaults()
	pool := s.Pool
	if pool == "" {
		pool = registry.DefaultPool
	}
	for _, f := range q.Features {
		if !slices.Contains(s.Features, f) {
			return false
		}
	}
	v4, v6 := s.EndpointV4.IsValid(), s.EndpointV6.IsValid()
	return !slices.Contains(q.Exclude, s.ID) && s.APIURL != "" && pool == q.Pool &&
		(q.Region == "" || q.Region == s.Region) && (q.Country == "" || q.Country == s.Country) && (q.City == "" || q.City == s.City) &&
		(q.Family == 4 && v4 || q.Family == 6 && v6 || q.Family == 0 && (v4 || v6)) &&
		at.Sub(s.HeartbeatAt) <= time.Duration(q.Freshness)*time.Second && s.Health != registry.Failing && !s.Draining &&
		(s.Capacity.Peers == 0 || s.Peers < s.Capacity.Peers && s.Assigned < s.Capacity.Peers) &&
		(q.MaxLoad == 1 || s.Load.Score < q.MaxLoad)
}

func TestSelectMeetsEachDemand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers, q := drawFleet(t), drawQuery(t)
		selection := registry.Select(servers, q, at)
		byID := make(map[registry.ID]registry.Server)
		able := 0
		for _, s := range servers {
			byID[s.ID] = s
			if meets(s, q) {
				able++
			}
		}
		require.Len(t, selection.Verdicts, len(servers), "a reason for every server")
		require.Equal(t, able > 0, selection.Server.ID != "", "one is chosen if there is one")
		candidates, nearest := 0, -1
		for i, v := range selection.Verdicts {
			s, ok := byID[v.Server]
			require.True(t, ok, "each once")
			delete(byID, v.Server)
			require.Equal(t, s.Name, v.Name)
			require.NotEmpty(t, v.Reason)
			if q.Position == nil || s.Position == nil {
				require.Equal(t, -1, v.Distance)
			}
			chosen := v.Reason == registry.Drawn || v.Reason == registry.KeptCurrent
			require.Equal(t, chosen, i == 0 && able > 0, "the chosen is the first")
			require.Equal(t, chosen || v.Reason == registry.NotDrawn, v.Weight > 0)
			require.Equal(t, meets(s, q), v.Weight > 0 || v.Reason == registry.TooFar)
			if meets(s, q) && v.Distance >= 0 && (nearest < 0 || v.Distance < nearest) {
				nearest = v.Distance
			}
			if v.Weight > 0 {
				candidates++
				require.Equal(t, i+1, candidates, "candidates come first")
			} else if i > candidates {
				require.Less(t, selection.Verdicts[i-1].Name, v.Name, "the others by name")
			}
			if chosen {
				require.Equal(t, s, selection.Server)
			}
		}
		for _, v := range selection.Verdicts {
			if v.Weight > 0 && v.Reason != registry.KeptCurrent && nearest >= 0 {
				require.True(t, v.Distance >= 0 && v.Distance <= nearest+q.WithDefaults().Slack)
			}
		}
		require.NotEmpty(t, selection.Explain())
		if able == 0 {
			require.ErrorIs(t, selection.Err(), registry.ErrNoServer)
		} else {
			require.NoError(t, selection.Err())
		}
	})
}

func TestSelectDependsOnItsInputAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers, q := drawFleet(t), drawQuery(t)
		first := registry.Select(servers, q, at)
		require.Equal(t, first, registry.Select(servers, q, at))
		shuffled := rapid.Permutation(servers).Draw(t, "order")
		require.Equal(t, first, registry.Select(shuffled, q, at))
	})
}

// A server that is neither chosen nor nearest may leave, drain, fill up or fail, and the choice stays.
func TestSelectIsSticky(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers, q := drawFleet(t), drawQuery(t)
		q.Position = nil // a server that is the nearest has a say for others
		before := registry.Select(servers, q, at)
		if len(servers) < 2 || before.Server.ID == "" {
			t.Skip("nothing to leave")
		}
		i := rapid.IntRange(0, len(servers)-1).Draw(t, "other")
		if servers[i].ID == before.Server.ID {
			t.Skip("it is the chosen")
		}
		left := slices.Delete(slices.Clone(servers), i, i+1)
		require.Equal(t, before.Server.ID, registry.Select(left, q, at).Server.ID)
		changed := slices.Clone(servers)
		changed[i].Draining = true
		require.Equal(t, before.Server.ID, registry.Select(changed, q, at).Server.ID)
		changed = slices.Clone(servers)
		changed[i].Load.Score = 1
		require.Equal(t, before.Server.ID, registry.Select(changed, q, at).Server.ID)
	})
}

// Whoever is chosen and goes is followed by the next in the order.
func TestSelectTriesTheVerdictsInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers, q := drawFleet(t), drawQuery(t)
		q.Position, q.Current = nil, ""
		for _, v := range registry.Select(servers, q, at).Verdicts {
			if v.Weight == 0 {
				break
			}
			require.Equal(t, v.Server, registry.Select(servers, q, at).Server.ID)
			q.Exclude = append(q.Exclude, v.Server)
		}
		require.Empty(t, registry.Select(servers, q, at).Server.ID)
	})
}

func TestSelectKeepsTheCurrent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		servers, q := drawFleet(t), drawQuery(t)
		if len(servers) == 0 {
			t.Skip("no server")
		}
		current := rapid.SampledFrom(servers).Draw(t, "current")
		q.Current = current.ID
		selection := registry.Select(servers, q, at)
		if meets(current, q) {
			require.Equal(t, current.ID, selection.Server.ID)
			require.Equal(t, registry.KeptCurrent, selection.Verdicts[0].Reason)
		} else {
			require.NotEqual(t, current.ID, selection.Server.ID)
		}
	})
}

// Keys spread over servers by the room that these have, not onto the emptiest.
func TestSelectSpreads(t *testing.T) {
	t.Parallel()
	servers := make([]registry.Server, 5)
	for i := range servers {
		servers[i] = server(i)
	}
	servers[0].Peers = 9_000         // of 10,000: 1,000 left
	servers[1].Capacity.Peers = 2000 // 2,000
	servers[2].Load.Score = 0.7      // 3,000
	servers[3].Assigned = 6000       // 4,000
	const keys = 22_000              // servers[4]: 10,000, of 20,000 in all
	chosen := make(map[registry.ID]int)
	random := rand.New(rand.NewPCG(1, 2))
	for range keys {
		selection := registry.Select(servers, registry.Query{SessionKey: fmt.Sprintf("%016x", random.Uint64())}, at)
		chosen[selection.Server.ID]++
	}
	for i, weight := range []int{1000, 2000, 3000, 4000, 10_000} {
		require.InDelta(t, weight, servers[i].Weight(), 1)
		want := float64(keys) * float64(weight) / 20_000
		require.InEpsilon(t, want, chosen[id(i)], 0.15, "server %d", i)
	}
}

// What fills up gets less, so that servers fill alike however unlike they begin.
func TestSelectFillsAlike(t *testing.T) {
	t.Parallel()
	servers := []registry.Server{server(0), server(1), server(2)}
	for i := range servers {
		servers[i].Capacity.Peers = 1000
	}
	servers[0].Assigned = 900
	for i := range 1800 {
		selection := registry.Select(servers, registry.Query{SessionKey: fmt.Sprint(i)}, at)
		require.NoError(t, selection.Err())
		servers[slices.IndexFunc(servers, func(s registry.Server) bool { return s.ID == selection.Server.ID })].Assigned++
	}
	for _, s := range servers {
		require.Greater(t, s.Assigned, 800)
		require.LessOrEqual(t, s.Assigned, 1000)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	frankfurt, newYork := registry.Position{Latitude: 50.1109, Longitude: 8.6821}, registry.Position{Latitude: 40.7128, Longitude: -74.0060}
	require.InDelta(t, 6205, registry.Distance(frankfurt, newYork), 5)
	require.Equal(t, registry.Distance(frankfurt, newYork), registry.Distance(newYork, frankfurt))
	require.Zero(t, registry.Distance(frankfurt, frankfurt))
	require.Equal(t, 20015, registry.Distance(registry.Position{Latitude: 90}, registry.Position{Latitude: -90}))
	require.Equal(t, 111, registry.Distance(registry.Position{Longitude: 179.5}, registry.Position{Longitude: -179.5}), "over the date line")
	rapid.Check(t, func(t *rapid.T) {
		a := registry.Position{Latitude: rapid.Float64Range(-90, 90).Draw(t, "a"), Longitude: rapid.Float64Range(-180, 180).Draw(t, "b")}
		b := registry.Position{Latitude: rapid.Float64Range(-90, 90).Draw(t, "c"), Longitude: rapid.Float64Range(-180, 180).Draw(t, "d")}
		d := registry.Distance(a, b)
		require.True(t, d >= 0 && d <= 20015, d)
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	var servers []registry.Server
	for i := range 9 {
		s := server(i)
		s.Draining = i > 2
		s.Position = &registry.Position{Latitude: float64(2 * i)}
		servers = append(servers, s)
	}
	servers[8].Draining, servers[8].Pool = false, "gold"
	selection := registry.Select(servers, registry.Query{SessionKey: "key", Position: &registry.Position{}}, at)
	require.Equal(t, `n-000 was drawn, with 50 % of the room, 0 km away
could have been: n-001
not considered: 5 draining (n-003, n-004, n-005 and 2 more), 1 too far (n-002), 1 of another pool (n-008)`, selection.Explain())
	selection = registry.Select(servers[3:8], registry.Query{Current: servers[8].ID}, at)
	require.EqualError(t, selection.Err(), "no server meets the query: 5 draining (n-003, n-004, n-005 and 2 more)")
	require.Equal(t, "no server was chosen\nnot considered: there are no servers", registry.Select(nil, registry.Query{}, at).Explain())
	selection = registry.Select(servers, registry.Query{Current: servers[1].ID}, at)
	require.Contains(t, selection.Explain(), "n-001 was kept: it is the present one and meets all demands\ncould have been: n-0")
}

func TestFilterMatches(t *testing.T) {
	t.Parallel()
	s := server(1)
	s.Region, s.Country, s.City, s.Pool = "eu", "DE", "Berlin", ""
	require.True(t, registry.Filter{Region: "eu", Country: "DE", City: "Berlin", Pool: registry.DefaultPool, Online: true}.Match(&s, at))
	require.False(t, registry.Filter{City: "Bonn"}.Match(&s, at))
	require.False(t, registry.Filter{Online: true}.Match(&s, at.Add(time.Hour)))
	require.True(t, registry.Filter{Online: true, Fresh: 2 * time.Hour}.Match(&s, at.Add(time.Hour)))
	s.HeartbeatAt = time.Time{}
	require.False(t, registry.Filter{Fresh: 1000 * time.Hour}.Match(&s, time.Time{}), "never heard of")
}

func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			servers := make([]registry.Server, n)
			for i := range servers {
				servers[i] = server(i)
				servers[i].Position = &registry.Position{Latitude: float64(i%180 - 90), Longitude: float64(i % 360)}
				servers[i].Draining = i%10 == 0
			}
			q := registry.Query{SessionKey: "key", Position: &registry.Position{Latitude: 1}, Slack: 20_000}
			b.ReportAllocs()
			for b.Loop() {
				if registry.Select(servers, q, at).Server.ID == "" {
					b.Fatal("none")
				}
			}
		})
	}
}
