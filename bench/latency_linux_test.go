package bench

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// probeInterval is the time between two probes: 64 bytes each 5 ms are 100 kbit/s, as a call takes.
const probeInterval = 5 * time.Millisecond

// BenchmarkLatency measures the round trip of small datagrams between a client and the server: when nothing else moves, and beside
// a TCP connection of one peer that runs at its limit, as a second flow of that peer or of another peer with a limit.
func BenchmarkLatency(b *testing.B) {
	for _, path := range []string{bare, inUserspace, inKernel} {
		b.Run("path="+path+"/state=idle", func(b *testing.B) {
			s := newSite(b)
			p := newPeer(b, 0)
			x := s.startExit(b, exitConfig{Dataplane: path, State: wgnode.State{Peers: []wgnode.PeerState{p.PeerState}}})
			latency(b, s.connect(b, x, p))
		})
	}
	limits, directions := []shaping.Rate{10e6}, []direction{down}
	if full() {
		limits, directions = []shaping.Rate{1e6, 10e6, 100e6}, []direction{down, up}
	}
	for _, path := range []string{inUserspace, inKernel} {
		for _, limit := range limits {
			b.Run(fmt.Sprintf("path=%s/state=load/limit=%s", path, short(limit)), func(b *testing.B) {
				busy, other := twoPeers(b, path, limit)
				for _, d := range directions {
					for _, c := range []*client{busy, other} {
						flow := "same"
						if c != busy {
							flow = "other"
						}
						b.Run(fmt.Sprintf("direction=%s/flow=%s", d, flow), func(b *testing.B) {
							l := startLoad(b, busy, loadSpec{network: "tcp", direction: d, flows: 1})
							defer l.stop()
							time.Sleep(rampUp + queueing(limit))
							before := l.delivered()
							began := time.Now()
							latency(b, c)
							b.ReportMetric(float64(l.delivered()-before)*8/time.Since(began).Seconds()/1e6, "Mbit/s")
						})
					}
				}
			})
		}
	}
}

// queueing is how long a greedy flow takes to fill what there may be of a queue.
func queueing(limit shaping.Rate) time.Duration {
	const most = 64 << 10
	return limit.Duration(4 * most)
}

// twoPeers starts an exit with two peers that have the same limit, each way.
func twoPeers(tb testing.TB, path string, limit shaping.Rate) (*client, *client) {
	tb.Helper()
	s := newSite(tb)
	limited := func(p *wgnode.PeerState) { p.SpeedLimit = shaping.Limit{Download: limit, Upload: limit} }
	one, two := newPeer(tb, 0, limited), newPeer(tb, 1, limited)
	x := s.startExit(tb, exitConfig{Dataplane: path, State: wgnode.State{Peers: []wgnode.PeerState{one.PeerState, two.PeerState}}})
	return s.connect(tb, x, one), s.connect(tb, x, two)
}

// latency reports round trips between a client and the server of its exit.
func latency(b *testing.B, c *client) {
	b.Helper()
	conn := openProbe(b, c)
	var all round
	for b.Loop() {
		r, err := sendProbes(conn, probeInterval, span())
		require.NoError(b, err)
		all.trips, all.sent = append(all.trips, r.trips...), all.sent+r.sent
	}
	require.NotEmpty(b, all.trips, "no probe comes back")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(micros(quantile(all.trips, 0.50)), "p50-us")
	b.ReportMetric(micros(quantile(all.trips, 0.99)), "p99-us")
	b.ReportMetric(micros(quantile(all.trips, 1)), "max-us")
	b.ReportMetric(all.lossPercent(), "loss-%")
}

// openProbe returns a client's socket, whose datagrams the server sends back until the benchmark ends.
func openProbe(tb testing.TB, c *client) *net.UDPConn {
	tb.Helper()
	var near, far *net.UDPConn
	server := c.exit.server
	server.Do(tb, func() (err error) {
		far, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.addrs[0], 0)))
		return err
	})
	c.Do(tb, func() (err error) {
		near, err = net.DialUDP("udp4", nil, far.LocalAddr().(*net.UDPAddr))
		return err
	})
	var wait sync.WaitGroup
	var failed error
	wait.Go(func() { failed = answerProbes(far) })
	tb.Cleanup(func() {
		require.NoError(tb, far.Close())
		require.NoError(tb, near.Close())
		wait.Wait()
		require.NoError(tb, failed)
	})
	warm, err := sendProbes(near, probeInterval, 100*time.Millisecond)
	require.NoError(tb, err)
	require.NotEmpty(tb, warm.trips, "no probe comes back")
	return near
}

// short is a rate as names of benchmarks have it: 10M.
func short(r shaping.Rate) string {
	switch {
	case r >= 1e9 && r%1e9 == 0:
		return fmt.Sprintf("%dG", r/1e9)
	case r >= 1e6 && r%1e6 == 0:
		return fmt.Sprintf("%dM", r/1e6)
	}
	return fmt.Sprintf("%dk", r/1e3)
}
