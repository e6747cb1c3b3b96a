package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// Crossings of BenchmarkQuota.
const (
	// capBytes is what each crossing lets pass: a whole number of packets, so that the last of them uses the cap up.
	capBytes = 3_500 * tunnelMTU
	// calm is how long nothing must arrive before what was cut off is counted.
	calm = 60 * time.Millisecond
)

// crossings is how many times one measurement uses a cap up.
func crossings() int {
	if full() {
		return 100
	}
	return 10
}

// BenchmarkQuota uses caps up at whatever rate up to 1 Gbit/s passes, again and again, each raised as soon as the one before has
// cut the flow off, while datagrams keep coming. It measures how much came beyond a cap at most, at the receiver (over-B) and by the node's
// own counters (node-over-B), both in bytes of IP packets inside the tunnel, how much a cap left unused (unused-B), and how long after
// the last packet that came to the receiver the node was told (event-ms): 0 if it was told before that one had arrived.
func BenchmarkQuota(b *testing.B) {
	for _, path := range []string{inUserspace, inKernel} {
		b.Run("path="+path, func(b *testing.B) {
			s := newSite(b)
			p := newPeer(b, 0)
			x := s.startExit(b, exitConfig{Dataplane: path, State: wgnode.State{Peers: []wgnode.PeerState{p.PeerState}}})
			c := s.connect(b, x, p)
			for _, d := range []direction{down, up} {
				b.Run(fmt.Sprintf("direction=%s", d), func(b *testing.B) { quotas(b, c, d) })
			}
		})
	}
}

// crossed is what came of one crossing.
type crossed struct {
	over, nodeOver, unused int64
	event                  time.Duration
}

func quotas(b *testing.B, c *client, d direction) {
	l := startLoad(b, c, loadSpec{network: "udp", direction: d, flows: 1, offered: 1e9})
	defer l.stop()
	var all []crossed
	var passing time.Duration
	for b.Loop() {
		q := newCrossing(b, c, l)
		for range crossings() {
			began := time.Now()
			all = append(all, q.next(b))
			passing += time.Unix(0, l.last.Load()).Sub(began)
		}
		q.lift(b)
	}
	var over, nodeOver, unused int64
	events := make([]time.Duration, len(all))
	for i, x := range all {
		over, nodeOver, unused = max(over, x.over), max(nodeOver, x.nodeOver), max(unused, x.unused)
		events[i] = x.event
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(all)), "crossings")
	b.ReportMetric(float64(len(all))*capBytes*8/passing.Seconds()/1e6, "Mbit/s")
	b.ReportMetric(float64(over), "over-B")
	b.ReportMetric(float64(nodeOver), "node-over-B")
	b.ReportMetric(float64(unused), "unused-B")
	b.ReportMetric(millis(quantile(events, 0.50)), "event-p50-ms")
	b.ReportMetric(millis(quantile(events, 0.99)), "event-p99-ms")
}

// crossing uses up caps of one client one after the other.
type crossing struct {
	client *client
	load   *load
	state  wgnode.PeerState
	// counted and delivered are what the node and the receiver had before the last cap was set.
	counted, delivered uint64
	limit              uint64 // by the node's counter
}

// newCrossing cuts the client off, with a cap that it has used up already.
func newCrossing(b *testing.B, c *client, l *load) *crossing {
	q := &crossing{client: c, load: l, state: c.peer.PeerState}
	q.state.Budget = quota.Budget{Limited: true, AtEnd: quota.Block, Limit: 1, Counted: quota.CountDownload}
	if l.spec.direction == up {
		q.state.Budget.Counted = quota.CountUpload
	}
	c.exit.apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{q.state}})
	q.quiet(b)
	q.counted, q.delivered = c.counted(b, l.spec.direction), l.delivered()
	q.limit = q.counted
	return q
}

// next lets capBytes pass, and what the cap before left unused.
func (q *crossing) next(b *testing.B) crossed {
	heard := len(q.client.exit.events())
	q.limit += capBytes
	q.state.Budget.Limit = q.limit
	q.client.exit.apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{q.state}})
	at := q.told(b, heard)
	q.quiet(b)
	allowed := int64(q.limit - q.counted)
	nowCounted, nowDelivered := q.client.counted(b, q.load.spec.direction), q.load.delivered()
	counted, delivered := int64(nowCounted-q.counted), int64(nowDelivered-q.delivered)
	q.counted, q.delivered = nowCounted, nowDelivered
	return crossed{
		over: max(delivered-allowed, 0), nodeOver: max(counted-allowed, 0), unused: max(allowed-counted, 0),
		event: max(at.Sub(time.Unix(0, q.load.last.Load())), 0),
	}
}

// told waits for the event of a cap, the first after so many, and returns when the node was told.
func (q *crossing) told(b *testing.B, heard int) time.Time {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, e := range q.client.exit.events()[heard:] {
			require.Empty(b, e.Err)
			if e.Kind == wgnode.BudgetReached && e.Peer == q.state.PublicKey {
				return e.At
			}
		}
	}
	require.Fail(b, "the node was never told of the cap")
	return time.Time{}
}

// quiet waits until nothing has arrived for a while.
func (q *crossing) quiet(b *testing.B) {
	since, last := time.Now(), q.load.received.Load()
	for deadline := time.Now().Add(patience); time.Since(since) < calm; time.Sleep(time.Millisecond) {
		require.True(b, time.Now().Before(deadline), "packets pass a cap that is used up")
		if now := q.load.received.Load(); now != last {
			since, last = time.Now(), now
		}
	}
}

// lift takes the cap away.
func (q *crossing) lift(b *testing.B) {
	q.state.Budget = quota.Budget{}
	q.client.exit.apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{q.state}})
}
