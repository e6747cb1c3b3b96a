package bench

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

// Paths of which throughput is measured, beside bare and stock.
const (
	// plain is the userspace dataplane with peers that have neither limit nor cap, and the default policy.
	plain = "plain"
	// whole has them all: limits and caps that are never reached, and a policy with rules.
	whole = "exit"
)

// farAbove are limits and caps that nothing on this machine comes to.
func farAbove(s *wgnode.PeerState) {
	s.SpeedLimit = shaping.Limit{Download: 100e9, Upload: 100e9}
	s.Budget = quota.Budget{Limited: true, Limit: 1 << 50, Mark: 1 << 49}
}

// somePolicy has rules that each packet is judged by, and that let the benchmark's pass.
func somePolicy() isolation.Policy {
	deny := func(name string, ports ...uint16) isolation.Rule {
		r := isolation.Rule{Name: name, Protocol: isolation.TCP, To: isolation.Match{Internet: true}}
		for _, p := range ports {
			r.Ports = append(r.Ports, isolation.PortRange{First: p, Last: p})
		}
		return r
	}
	bad := isolation.Rule{Name: "bad neighbourhood"}
	for i := range 100 {
		bad.To.Prefixes = append(bad.To.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i), 0, 0}), 16))
	}
	return isolation.Policy{Deny: []isolation.Rule{deny("mail", 25, 465, 587), deny("shares", 139, 445), bad}}
}

// startPath starts an exit for one path with so many peers, and connects the first. What has no kernel dataplane may share its site.
func startPath(tb testing.TB, s *site, path string, peers, procs int) *client {
	tb.Helper()
	const unbounded = 1 << 30 // flows a second: connections are measured, too
	cfg := exitConfig{Dataplane: path, MaxProcs: procs, Limits: userspace.Limits{NewFlowsPerSecond: unbounded, NewFlowsBurst: unbounded}}
	var edits []func(*wgnode.PeerState)
	switch path {
	case plain:
		cfg.Dataplane = inUserspace
	case whole:
		cfg.Dataplane, cfg.State.Policy = inUserspace, somePolicy()
		edits = append(edits, farAbove)
	}
	p := newPeer(tb, 0, edits...)
	cfg.State.Peers = append(idlePeers(1, peers-1, edits...), p.PeerState)
	return s.connect(tb, s.startExit(tb, cfg), p)
}

// BenchmarkThroughput measures TCP between a client and a server, in bits of payload a second at the receiver, through the exit
// and what it is compared with. All of them are there from the start and take turns, so that a machine whose speed changes is as fast
// for each.
func BenchmarkThroughput(b *testing.B) {
	streams, sizes := []int{1, 8}, []int{1, 10_000}
	if full() {
		streams, sizes = []int{1, 8, 64}, []int{1, 100, 10_000}
	}
	type subject struct {
		name   string
		client *client
	}
	var subjects []subject
	s := newSite(b)
	for _, path := range []string{bare, stock, plain, whole} {
		for _, peers := range sizes {
			if peers == 1 || path == plain || path == whole {
				subjects = append(subjects, subject{fmt.Sprintf("path=%s/peers=%d", path, peers), startPath(b, s, path, peers, 0)})
			}
		}
	}
	for _, d := range []direction{up, down} {
		for _, n := range streams {
			for _, x := range subjects {
				b.Run(fmt.Sprintf("%s/direction=%s/streams=%d", x.name, d, n), func(b *testing.B) { throughput(b, x.client, d, n) })
			}
		}
	}
}

// BenchmarkProcessors measures the same of a node that may use one processor, and two.
func BenchmarkProcessors(b *testing.B) {
	const streams = 8
	for _, procs := range []int{1, 2} {
		b.Run(fmt.Sprintf("path=%s/procs=%d", whole, procs), func(b *testing.B) {
			c := startPath(b, newSite(b), whole, 1, procs)
			for _, d := range []direction{up, down} {
				b.Run(fmt.Sprintf("direction=%s/streams=%d", d, streams), func(b *testing.B) { throughput(b, c, d, streams) })
			}
		})
	}
}

func throughput(b *testing.B, c *client, d direction, streams int) {
	var sum, node, peer float64
	for b.Loop() {
		t := startBulk(b, c, d, streams)
		time.Sleep(rampUp)
		bytes, nodeBefore, peerBefore := t.bytes.Load(), c.exit.usage(b).CPU, c.usage(b).CPU
		sum += t.rate(span())
		gbit := float64(t.bytes.Load()-bytes) * 8 / 1e9
		node += (c.exit.usage(b).CPU - nodeBefore).Seconds() * 1e3 / gbit
		peer += (c.usage(b).CPU - peerBefore).Seconds() * 1e3 / gbit
		writeProfiles(b, c.exit)
		t.stop()
	}
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(sum/n/1e6, "Mbit/s")
	// On a busy machine these say more: the time of processors that a Gbit takes of the exit's process and of the client's.
	b.ReportMetric(node/n, "cpu-ms/Gbit")
	b.ReportMetric(peer/n, "client-cpu-ms/Gbit")
	b.ReportMetric(node/n*sum/n/1e12, "cpus")
}
