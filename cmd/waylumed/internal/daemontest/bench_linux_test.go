package daemontest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const (
	benchPeers   = 10_000 // that there are
	benchClients = 64     // at a time
)

// many is a client with a connection for each of benchClients.
func many(base *http.Transport) *http.Transport {
	base.MaxIdleConnsPerHost, base.MaxIdleConns, base.MaxConnsPerHost = benchClients, benchClients, benchClients
	base.ForceAttemptHTTP2 = false
	return base
}

// fill creates peers, and returns their ids.
func fill(tb testing.TB, client *http.Client, n int) (ids []string) {
	tb.Helper()
	for n > 0 {
		bulk := api.BulkCreate{Peers: make([]api.PeerSpec, min(n, 2_000))}
		for _, p := range must[api.BulkCreated](tb, client, http.StatusOK, http.MethodPost, onSocket+peers+"/bulk-create", bulk).Peers {
			ids = append(ids, p.ID)
		}
		n -= len(bulk.Peers)
	}
	return ids
}

// BenchmarkAPI has 64 clients ask a daemon with 10,000 peers and the userspace dataplane: over TCP and TLS with signed requests, and
// over the unix socket. It reports how long requests took at the median and at the 99th of a hundred.
func BenchmarkAPI(b *testing.B) {
	s := newTrusting(b, unlimited)
	d := s.start(b)
	ids := fill(b, s.unix(), benchPeers)
	cfg := s.servers.trusted()
	cfg.NextProtos = []string{"http/1.1"}
	dialer := new(net.Dialer)
	tcp := many(&http.Transport{TLSClientConfig: cfg, DialContext: dialer.DialContext})
	claims := sign.Claims{Subject: "control-plane", Audience: name, Scopes: []string{readPeers, writePeers}}
	signed := &http.Client{Timeout: patience, Transport: &sign.Transport{Key: s.writer, Claims: claims, Base: tcp}}
	local := s.unix()
	many(local.Transport.(*http.Transport))
	for _, way := range []struct {
		name, base string
		client     *http.Client
	}{{"signed", s.base, signed}, {"unix", onSocket, local}} {
		for _, clients := range []int{1, benchClients} {
			b.Run(fmt.Sprintf("way=%s/op=get/clients=%d", way.name, clients), func(b *testing.B) {
				measure(b, clients, func(i int) error {
					return answered(way.client, http.StatusOK, http.MethodGet, way.base+peers+"/"+ids[i%len(ids)], nil)
				})
			})
			create := func(headers func() []string) func(b *testing.B) {
				return func(b *testing.B) {
					measure(b, clients, func(int) error {
						return answered(way.client, http.StatusCreated, http.MethodPost, way.base+peers, api.PeerSpec{}, headers()...)
					})
				}
			}
			b.Run(fmt.Sprintf("way=%s/op=create/clients=%d", way.name, clients), create(func() []string { return nil }))
			b.Run(fmt.Sprintf("way=%s/op=create-with-key/clients=%d", way.name, clients),
				create(func() []string { return []string{"Idempotency-Key", uuid()} }))
		}
	}
	d.stop(b)
}

func answered(client *http.Client, status int, method, url string, body any, headers ...string) error {
	r, err := ask(client, method, url, body, headers...)
	if err == nil && r.status != status {
		err = fmt.Errorf("status %d: %s", r.status, r.body)
	}
	return err
}

// measure makes b.N requests.
func measure(b *testing.B, clients int, request func(i int) error) {
	b.Helper()
	var mu sync.Mutex
	took := make([]time.Duration, 0, b.N)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(b.Context())
	b.ResetTimer()
	for range clients {
		group.Go(func() error {
			var own []time.Duration
			for i := next.Add(1); i <= int64(b.N) && ctx.Err() == nil; i = next.Add(1) {
				began := time.Now()
				if err := request(int(i)); err != nil {
					return err
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			return nil
		})
	}
	require.NoError(b, group.Wait())
	b.StopTimer()
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "req/s")
}

// BenchmarkStart starts daemons with no peers, and reports how long they took until they answered that they were ready, and what
// they then had in memory.
func BenchmarkStart(b *testing.B) {
	for _, dataplane := range []string{"kernel", "userspace"} {
		b.Run("dataplane="+dataplane, func(b *testing.B) {
			netns.Require(b)
			s := newSite(b, settings{"node.dataplane": dataplane})
			s.start(b).stop(b) // the first makes the state
			var ready, rss, anon []float64
			for b.Loop() {
				began := time.Now()
				d := s.start(b)
				ready = append(ready, float64(time.Since(began))/float64(time.Millisecond))
				time.Sleep(200 * time.Millisecond) // for what goes on after the start
				rss, anon = append(rss, float64(d.memory(b, "VmRSS"))/(1<<20)), append(anon, float64(d.memory(b, "RssAnon"))/(1<<20))
				d.stop(b)
			}
			for unit, values := range map[string][]float64{"ready-ms": ready, "rss-MiB": rss, "anon-MiB": anon} {
				slices.Sort(values)
				b.ReportMetric(values[len(values)/2], unit)
			}
		})
	}
}
