package postgres_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
)

var (
	fleets = flag.Int("fleets", 3000, "how many fleets to select from")
	seed   = flag.Uint64("seed", 0, "of the fleets; 0: another one each time")
)

// row is a server as the table has it.
type row struct {
	ID            registry.ID     `json:"id"`
	Name          string          `json:"name"`
	PublicKey     registry.Key    `json:"public_key"`
	EndpointV4    *netip.AddrPort `json:"endpoint_v4"`
	EndpointV6    *netip.AddrPort `json:"endpoint_v6"`
	APIURL        string          `json:"api_url"`
	Audience      string          `json:"audience"`
	Region        string          `json:"region"`
	Country       string          `json:"country"`
	City          string          `json:"city"`
	Latitude      *float64        `json:"latitude"`
	Longitude     *float64        `json:"longitude"`
	Pool          string          `json:"pool"`
	CapacityPeers int             `json:"capacity_peers"`
	CapacityRate  int64           `json:"capacity_rate"`
	Version       string          `json:"version"`
	Features      string          `json:"features"` // as an array is written
	Peers         int             `json:"peers"`
	Connected     int             `json:"connected"`
	Health        registry.Health `json:"health"`
	Reasons       string          `json:"reasons"`
	Load          float64         `json:"load"`
	Scaling       string          `json:"scaling"`
	NodeDraining  bool            `json:"node_draining"`
	FleetDraining bool            `json:"fleet_draining"`
	Assigned      int             `json:"assigned"`
	Incarnation   int             `json:"incarnation"`
	Sequence      int             `json:"heartbeat_sequence"`
	Release       int             `json:"release_sequence"`
	Released      int             `json:"released_sequence"`
	Told          int             `json:"told_sequence"`
	Usage         int             `json:"usage_sequence"`
	RegisteredAt  time.Time       `json:"registered_at"`
	HeartbeatAt   *time.Time      `json:"heartbeat_at"`
}

// server is what the row says.
func (r row) server() registry.Server {
	s := registry.Server{ID: r.ID, Draining: r.NodeDraining || r.FleetDraining, Assigned: r.Assigned}
	s.Name, s.APIURL, s.Region, s.Country, s.City, s.Pool = r.Name, r.APIURL, r.Region, r.Country, r.City, r.Pool
	if r.EndpointV4 != nil {
		s.EndpointV4 = *r.EndpointV4
	}
	if r.EndpointV6 != nil {
		s.EndpointV6 = *r.EndpointV6
	}
	if r.Latitude != nil {
		s.Position = &registry.Position{Latitude: *r.Latitude, Longitude: *r.Longitude}
	}
	s.Capacity = registry.Capacity{Peers: r.CapacityPeers, Rate: r.CapacityRate}
	if r.Features != "{}" {
		s.Features = slices.DeleteFunc([]string{"ipv6", "kernel"}, func(f string) bool { return r.Features == "{ipv6}" && f == "kernel" })
	}
	s.Peers, s.Health, s.Load.Score = r.Peers, r.Health, r.Load
	if r.HeartbeatAt != nil {
		s.HeartbeatAt = *r.HeartbeatAt
	}
	return s
}

type fleetCase struct {
	Rows  []row          `json:"rows"`
	Query registry.Query `json:"query"`
	At    time.Time      `json:"at"`
}

// source makes fleets in which each rule applies often, and of which many values are on the edge of one.
type source struct{ *rand.Rand }

func pick[T any](s source, of ...T) T { return of[s.IntN(len(of))] }

func (s source) position() (latitude, longitude *float64) {
	if s.IntN(4) == 0 {
		return nil, nil
	}
	lat := pick(s, 90, -90, 50.1109, 52.52, 0, s.Float64()*180-90, 50+s.Float64())
	lon := pick(s, 180, -180, 8.6821, 13.405, 0, s.Float64()*360-180, 8+s.Float64())
	return &lat, &lon
}

func (s source) row(i int, at time.Time) row {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:51820"), netip.MustParseAddrPort("[2001:db8::1]:51820")
	heartbeat := at.Add(-pick(s,
		0, time.Second, 60*time.Second, 60*time.Second+time.Microsecond, 60*time.Second-time.Microsecond, time.Hour, -time.Second))
	r := row{
		ID: registry.ID(uuid.Must(uuid.NewRandomFromReader(reader{s})).String()), PublicKey: key("k"),
		Name:       fmt.Sprintf("%s%s%d", pick(s, "a", "B", "_", "-", ".", "Z", "z"), pick(s, "", "-", "_", ".", "A", "a", "0"), i),
		EndpointV4: pick(s, &v4, &v4, nil), APIURL: pick(s, "https://192.0.2.1:8443", "https://192.0.2.1:8443", "https://192.0.2.1:8443", ""),
		Region: pick(s, "", "eu", "eu", "us"), Country: pick(s, "DE", "DE", "US", ""), City: pick(s, "Köln", "Köln", "Berlin", ""),
		Pool: pick(s, "default", "default", "default", "gold"), CapacityPeers: pick(s, 0, 0, 1, 10, 100, 5000),
		Features: pick(s, "{}", "{ipv6}", "{ipv6,kernel}"), Health: pick(s, registry.Healthy, registry.Degraded, registry.Failing),
		Peers: pick(s, 0, 1, 9, 10, 11, 99, s.IntN(20000)), Assigned: pick(s, 0, 0, 1, 10, s.IntN(200)),
		Load: pick(s, 0, 1, 0.5, 0.95, 0.949999, s.Float64(), s.Float64()), Reasons: "{}", Scaling: "steady", Incarnation: 1,
		NodeDraining: s.IntN(8) == 0, FleetDraining: s.IntN(8) == 0, RegisteredAt: at, HeartbeatAt: &heartbeat,
	}
	if r.EndpointV4 == nil || s.IntN(2) == 0 {
		r.EndpointV6 = &v6
	}
	r.Latitude, r.Longitude = s.position()
	if s.IntN(12) == 0 {
		r.HeartbeatAt = nil
	}
	return r
}

func (s source) fleetCase() fleetCase {
	// The database counts microseconds.
	c := fleetCase{At: time.Date(2026, 11, 21, 12, 0, 0, s.IntN(1_000_000)*1000, time.UTC), Rows: []row{}}
	friendly := s.IntN(2) == 0 // servers of which most are candidates
	for i := range s.IntN(12) {
		r := s.row(i, c.At)
		if friendly {
			r.APIURL, r.Pool, r.Health, r.NodeDraining, r.FleetDraining = "https://192.0.2.1:8443", "default", registry.Healthy, false, false
			r.HeartbeatAt = &c.At
		}
		c.Rows = append(c.Rows, r)
	}
	some := func() registry.ID {
		if len(c.Rows) == 0 || s.IntN(5) == 0 {
			return "00000000-0000-4000-8000-000000000000"
		}
		return c.Rows[s.IntN(len(c.Rows))].ID
	}
	q := &c.Query
	q.SessionKey = pick(s, "key", "ключ", "a b", string(some()))
	if s.IntN(3) == 0 {
		q.Region, q.Country, q.City = pick(s, "", "eu"), pick(s, "", "DE"), pick(s, "", "Köln")
	}
	q.Pool = pick(s, "", "", "", "default", "gold")
	q.Features = pick(s, nil, nil, []string{"ipv6"}, []string{"kernel", "ipv6"}, []string{"ipv6", "ipv6"})
	q.Family = pick(s, 0, 0, 4, 6)
	if lat, lon := s.position(); lat != nil && s.IntN(2) == 0 {
		q.Position = &registry.Position{Latitude: *lat, Longitude: *lon}
	}
	q.Slack = pick(s, 0, 1, 50, 1000, 20000)
	if s.IntN(3) == 0 {
		q.Current = some()
	}
	for range pick(s, 0, 0, 1, 3) {
		q.Exclude = append(q.Exclude, some())
	}
	q.Freshness = pick(s, 0, 0, 59, 60, 61, 3600)
	q.MaxLoad = pick(s, 0, 0, 0.5, 0.95, 1)
	return c
}

// want is what Go selects.
func (c fleetCase) want() []registry.Verdict {
	var servers []registry.Server
	for _, r := range c.Rows {
		if r.HeartbeatAt != nil {
			servers = append(servers, r.server())
		}
	}
	return registry.Select(servers, c.Query, c.At).Verdicts
}

type reader struct{ source }

func (r reader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

// selectAll has the database select from many fleets in one round trip.
const selectAll = `
create function test_select(cases jsonb) returns setof jsonb language plpgsql set session_replication_role = replica as $$
declare
	c jsonb;
begin
	for c in select * from jsonb_array_elements(cases) loop
		delete from waylume_servers;
		insert into waylume_servers select * from jsonb_populate_recordset(null::waylume_servers, c -> 'rows');
		return query select coalesce(jsonb_agg(to_jsonb(v) - 'turn' order by v.turn), '[]')
			from waylume_select(c -> 'query', (c ->> 'at')::timestamptz) with ordinality as v (server, name, reason, distance, weight, turn);
	end loop;
end $$;
`

// TestSQLSelectsAsGoDoes holds the two to each other.
func TestSQLSelectsAsGoDoes(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	s := source{rand.New(rand.NewPCG(*seed, 0))} //nolint:gosec // to be repeated
	dsn := database(t)
	pgserver.Exec(t, dsn, selectAll)
	conn := sqlConn(t, dsn)
	reasons := make(map[registry.Reason]int)
	const batch = 250
	for done := 0; done < *fleets; done += batch {
		cases := make([]fleetCase, batch)
		for i := range cases {
			cases[i] = s.fleetCase()
			require.NoError(t, cases[i].Query.Validate())
		}
		in, err := json.Marshal(cases)
		require.NoError(t, err)
		answers := ask[[][]byte](t, conn, "select array(select test_select($1::jsonb))", string(in))
		require.Len(t, answers, batch)
		for i, answer := range answers {
			got := []registry.Verdict{}
			require.NoError(t, json.Unmarshal(answer, &got))
			for _, v := range got {
				reasons[v.Reason]++
			}
			if want := cases[i].want(); !slices.Equal(want, got) {
				one, err := json.MarshalIndent(cases[i], "", "  ")
				require.NoError(t, err)
				require.Equal(t, want, got, "%s", one)
			}
		}
	}
	t.Log(reasons)
	for _, r := range []registry.Reason{
		registry.Excluded, registry.NoAPI, registry.OtherPool, registry.OtherRegion, registry.OtherCountry, registry.OtherCity,
		registry.LacksFeature,
		registry.NoEndpoint, registry.Stale, registry.Unhealthy, registry.IsDraining, registry.Full, registry.Overloaded, registry.TooFar,
		registry.NotDrawn, registry.KeptCurrent, registry.Drawn,
	} {
		require.Greater(t, reasons[r], *fleets/100, "the fleets do not bring about %s often enough", r)
	}
}
