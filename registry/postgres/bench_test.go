package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres"
)

// benchmarkFleet has so many servers, all fresh, on a server that syncs each commit to its disk as one in earnest does.
func benchmarkFleet(b *testing.B, servers int) (fleet *postgres.Fleet, ids []registry.ID, dsn string) {
	b.Helper()
	server := pgserver.StartConfig(b, pgserver.Config{Settings: map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB",
	}})
	dsn = server.Database(b, "fleet", migrated)
	fleet = open(b, dsn, func(cfg *postgres.Config) { cfg.MaxConns = 8 })
	for i := range servers {
		r := registration(fmt.Sprintf("n-%d", i))
		r.PublicKey[28], r.PublicKey[29] = byte(i>>8), byte(i)
		r.Position = &registry.Position{Latitude: float64(i%180 - 90), Longitude: float64(i%360 - 180)}
		registered, err := fleet.Register(b.Context(), r)
		require.NoError(b, err)
		ids = append(ids, registered.Server)
	}
	pgserver.Exec(b, dsn, "vacuum analyze")
	return fleet, ids, dsn
}

// BenchmarkHeartbeat has 1,000 servers beat over eight connections.
func BenchmarkHeartbeat(b *testing.B) {
	fleet, ids, _ := benchmarkFleet(b, 1000)
	var sequence atomic.Int64
	cpu := 0.25
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := sequence.Add(1)
			_, err := fleet.Heartbeat(b.Context(), registry.Heartbeat{
				Server: ids[i%int64(len(ids))], Incarnation: 1, Sequence: i,
				Status: registry.Status{Peers: int(i % 1000), Load: registry.Load{Score: 0.25, CPU: &cpu, SentRate: i}},
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "heartbeats/s")
}

// BenchmarkSelect selects among fleets of several sizes, one call after the other. All verdicts come back.
func BenchmarkSelect(b *testing.B) {
	for _, servers := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			fleet, _, _ := benchmarkFleet(b, servers)
			q := registry.Query{Position: &registry.Position{Latitude: 50, Longitude: 8}, Slack: 5000, Freshness: 86400}
			for b.Loop() {
				if _, err := fleet.Select(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBegin begins sessions among 100 and 1,000 servers, over eight connections.
func BenchmarkBegin(b *testing.B) {
	for _, servers := range []int{100, 1000} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			fleet, _, _ := benchmarkFleet(b, servers)
			var turn atomic.Int64
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := turn.Add(1)
					n := registry.NewSession{
						User: fmt.Sprintf("user-%d", i%1000), IdempotencyKey: fmt.Sprint(i), PublicKey: key(fmt.Sprint(i)),
						Query: registry.Query{Freshness: 86400},
					}
					if _, err := fleet.Begin(b.Context(), n); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
}

// BenchmarkStranded looks for stranded sessions among 100,000 that are well, and ten that are not.
func BenchmarkStranded(b *testing.B) {
	fleet, ids, dsn := benchmarkFleet(b, 1000)
	pgserver.Exec(b, dsn, `insert into vpn_sessions (user_id, idempotency_key, public_key, query, state, server_id, expires_at)
		select 'u', i::text, encode(sha256(i::text::bytea), 'base64'), '{}', 'active', s.id, case when i <= 10 then now() end
		from generate_series(1, 100000) i join (select id, row_number() over () as n from waylume_servers) s on s.n = i % 1000 + 1`)
	pgserver.Exec(b, dsn, "vacuum analyze")
	require.Len(b, ids, 1000)
	for b.Loop() {
		stranded, err := fleet.Stranded(b.Context(), 24*60*60*1e9, 100)
		if err != nil || len(stranded) != 10 {
			b.Fatal(len(stranded), err)
		}
	}
}

// BenchmarkReportUsage reports what 5,000 peers used.
func BenchmarkReportUsage(b *testing.B) {
	fleet, ids, dsn := benchmarkFleet(b, 1)
	pgserver.Exec(b, dsn, `insert into vpn_sessions (user_id, idempotency_key, public_key, query, state, server_id)
		select 'u', i::text, encode(sha256(i::text::bytea), 'base64'), '{}', 'active', (select id from waylume_servers)
		from generate_series(1, 5000) i;
		insert into vpn_placements (session_id, generation, server_id, public_key, placed_at)
		select id, 1, server_id, public_key, placed_at from vpn_sessions`)
	pgserver.Exec(b, dsn, "vacuum analyze")
	conn := sqlConn(b, dsn)
	var usages []registry.PeerUsage
	for _, text := range ask[[]string](b, conn, "select array_agg(public_key) from vpn_sessions") {
		var k registry.Key
		require.NoError(b, k.UnmarshalText([]byte(text)))
		usages = append(usages, registry.PeerUsage{PublicKey: k, Download: 1000, Upload: 100})
	}
	r, err := fleet.Server(b.Context(), ids[0])
	require.NoError(b, err)
	sequence := int64(0)
	for b.Loop() {
		sequence++
		_, err := fleet.ReportUsage(b.Context(), registry.UsageReport{
			Server: ids[0], Sequence: sequence, From: r.RegisteredAt, To: r.HeartbeatAt, Usages: usages,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
