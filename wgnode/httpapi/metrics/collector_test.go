package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func collector(t testing.TB, node metrics.Node, opts metrics.Options) *metrics.Collector {
	t.Helper()
	c, err := metrics.NewCollector(node, opts)
	require.NoError(t, err)
	return c
}

func TestCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, dp := start(t)
		c := collector(t, node, metrics.Options{Version: "1.2.3", Redaction: "off"})
		_, err := node.PutAccount(t.Context(), wgnode.AccountSpec{ID: "acme"})
		require.NoError(t, err)
		var peers []wgnode.AddedPeer
		for range 4 {
			p, err := node.AddPeer(t.Context(), wgnode.PeerSpec{Account: "acme", DataCap: quota.Cap{Bytes: 1000}})
			require.NoError(t, err)
			peers = append(peers, p)
		}
		send(t, dp, peers[0], 100-28)
		send(t, dp, peers[1], 1000-28)
		dp.Peer(peers[1].PublicKey).Send(wgnodetest.UDPPacket(
			netip.AddrPortFrom(peers[1].Addrs[0], 1), netip.MustParseAddrPort("192.0.2.1:53"), nil)) // its cap is used up
		dp.SetHandshake(peers[0].PublicKey, time.Now(), netip.MustParseAddrPort("198.51.100.7:4000"))
		require.NoError(t, node.Suspend(t.Context(), wgnode.OfPeer(peers[2].PublicKey)))
		require.NoError(t, node.RemovePeer(t.Context(), peers[3].PublicKey))
		time.Sleep(11 * time.Second)
		synctest.Wait()

		got := gather(t, c)
		status, err := node.Status(t.Context())
		require.NoError(t, err)
		for sample, want := range map[string]float64{
			fmt.Sprintf("waylume_node_info{dataplane=%s,key=%s,version=1.2.3}", status.Dataplane, status.PublicKey): 1,

			"waylume_node_state{state=running}":                      1,
			"waylume_node_state{state=closed}":                       0,
			"waylume_node_start_timestamp_seconds":                   float64(status.Since.UnixNano()) / 1e9,
			"waylume_node_problem{area=store,kind=store-failing}":    0,
			"waylume_node_key_overlap":                               0,
			"waylume_node_checkpoints_total{result=failure}":         0,
			"waylume_node_unanswered_scrapes_total":                  0,
			"waylume_peers{state=active}":                            2,
			"waylume_peers{state=suspended}":                         1,
			"waylume_peers{state=expired}":                           0,
			"waylume_peer_connections{state=idle}":                   1,
			"waylume_peer_connections{state=never-connected}":        1,
			"waylume_peer_connections{state=inactive}":               1,
			"waylume_accounts":                                       1,
			"waylume_traffic_bytes_total{direction=upload}":          1100,
			"waylume_traffic_bytes_total{direction=download}":        0,
			"waylume_dropped_packets_total{reason=data-cap}":         1,
			"waylume_dropped_packets_total{reason=smtp}":             0,
			"waylume_dropped_packets_total{reason=other}":            0,
			"waylume_removed_peers_total{reason=requested}":          1,
			"waylume_removed_peers_total{reason=idle}":               0,
			"waylume_events_total{kind=cap-reached,subject=peer}":    1,
			"waylume_events_total{kind=cap-reached,subject=account}": 0,
			"waylume_events_total{kind=peer-added,subject=peer}":     4,
			"waylume_events_total{kind=repaired,subject=node}":       0,
			"waylume_pool_addresses{family=ipv4,state=leased}":       3,
			"waylume_pool_addresses{family=ipv4,state=quarantined}":  1,
			"waylume_recent_handshakes{result=failure}":              0,
		} {
			require.Contains(t, got, sample)
			require.InDelta(t, want, got[sample], 1e-6, sample)
		}
		require.Positive(t, got["waylume_node_checkpoints_total{result=success}"])
		for sample := range got {
			require.NotContains(t, sample, "waylume_peer_traffic", "nobody asked for single peers")
		}
	})
}

func TestProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, dp := start(t)
		c := collector(t, node, metrics.Options{})
		before := gather(t, c)
		failing := errors.New("the dataplane hangs")
		dp.Intercept(func(context.Context, wgnodetest.Op) error { return failing })
		time.Sleep(time.Minute)
		since := time.Now()
		got := gather(t, c)
		require.InDelta(t, 1, got["waylume_node_problem{area=interface,kind=dataplane-failing}"], 0)
		at := got["waylume_node_problem_since_timestamp_seconds{kind=dataplane-failing}"]
		require.Greater(t, at, float64(since.Add(-time.Minute).Unix()))
		require.LessOrEqual(t, at, float64(since.Unix()))
		require.InDelta(t, 1, got["waylume_node_unanswered_scrapes_total"], 0)
		require.Positive(t, got["waylume_node_checkpoints_total{result=failure}"])
		require.Contains(t, before, "waylume_dropped_packets_total{reason=other}")
		require.NotContains(t, got, "waylume_dropped_packets_total{reason=other}", "a counter that is not known is absent, not 0")
		dp.Intercept(nil)
	})
}

// Whatever a node's life, a scrape has something to tell.
func TestCollectorOfNodeThatDoesNotRun(t *testing.T) {
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane()})
	require.NoError(t, err)
	c := collector(t, node, metrics.Options{PerPeer: true})
	require.InDelta(t, 1, gather(t, c)["waylume_node_state{state=idle}"], 0)
	require.NoError(t, node.Start(t.Context()))
	p, err := node.AddPeer(t.Context(), wgnode.PeerSpec{})
	require.NoError(t, err)
	require.NoError(t, node.RemovePeer(t.Context(), p.PublicKey))
	require.NoError(t, node.Close())
	got := gather(t, c)
	require.InDelta(t, 1, got["waylume_node_state{state=closed}"], 0)
	require.InDelta(t, 1, got["waylume_events_total{kind=peer-removed,subject=peer}"], 0)
}

// strange is a node that says what no closed set knows.
type strange struct{ metrics.Node }

func (s strange) Status(ctx context.Context) (wgnode.Status, error) {
	status, err := s.Node.Status(ctx)
	status.Dropped = map[string]uint64{"cosmic rays": 3, "solar wind": 4, "spoofed": 5}
	return status, err
}

func TestUnknownReasonsAreOther(t *testing.T) {
	node, _ := start(t)
	got := gather(t, collector(t, strange{node}, metrics.Options{}))
	require.InDelta(t, 7, got["waylume_dropped_packets_total{reason=other}"], 0)
	require.InDelta(t, 5, got["waylume_dropped_packets_total{reason=spoofed}"], 0)
	for sample := range got {
		require.NotContains(t, sample, "cosmic")
	}
}

func TestPerPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, dp := start(t)
		var first wgnode.AddedPeer
		for i := range 3 {
			p, err := node.AddPeer(t.Context(), wgnode.PeerSpec{})
			require.NoError(t, err)
			if i == 0 {
				first = p
			}
		}
		send(t, dp, first, 500-28)
		at := time.Now()
		dp.SetHandshake(first.PublicKey, at, netip.MustParseAddrPort("198.51.100.7:4000"))
		time.Sleep(11 * time.Second)
		synctest.Wait()

		plain := gather(t, collector(t, node, metrics.Options{PerPeer: true, MaxPeers: 2, Redaction: "off"}))
		require.InDelta(t, 1, plain["waylume_peers_left_out"], 0)
		require.InDelta(t, 500, plain[fmt.Sprintf("waylume_peer_traffic_bytes_total{direction=upload,peer=%s}", first.PublicKey)], 0)
		require.InDelta(t, 1, plain[fmt.Sprintf("waylume_peer_up{peer=%s}", first.PublicKey)], 0)
		require.InDelta(t, float64(at.UnixNano())/1e9,
			plain[fmt.Sprintf("waylume_peer_last_handshake_timestamp_seconds{peer=%s}", first.PublicKey)], 1e-6)

		for _, mode := range []string{"", "partial", "strict"} {
			hashed := string(text(t, collector(t, node, metrics.Options{PerPeer: true, Redaction: mode})))
			require.Contains(t, hashed, `waylume_peer_up{peer="`)
			for p := range node.Peers(wgnode.ListOptions{}) {
				require.NotContains(t, hashed, p.PublicKey.String())
			}
			status, err := node.Status(t.Context())
			require.NoError(t, err)
			require.NotContains(t, hashed, status.PublicKey.String())
		}
	})
}

func TestOptions(t *testing.T) {
	for want, opts := range map[string]metrics.Options{
		"Redaction": {Redaction: "some"}, "MaxPeers": {MaxPeers: -1}, "Timeout": {Timeout: -1},
	} {
		_, err := metrics.NewCollector(nil, opts)
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), "metrics: Options."+want))
	}
}

// BenchmarkScrape is a scrape of a node with 10,000 peers, and of each of them.
func BenchmarkScrape(b *testing.B) {
	node, _ := start(b)
	specs := make([]wgnode.PeerSpec, 10_000)
	_, err := node.AddPeers(b.Context(), specs)
	require.NoError(b, err)
	for name, opts := range map[string]metrics.Options{"node": {}, "peers": {PerPeer: true, MaxPeers: 10_000}} {
		b.Run(name, func(b *testing.B) {
			registry, err := metrics.NewRegistry(collector(b, node, opts))
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := registry.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
