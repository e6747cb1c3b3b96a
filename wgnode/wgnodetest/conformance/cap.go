package conformance

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// Datagrams of the tests of caps: one of unit bytes with its headers for IPv4.
const (
	unitPayload = 1000
	unit        = unitPayload + header.IPv4MinimumSize + header.UDPMinimumSize
)

// testCap holds caps to the byte.
func testCap(t *testing.T, h Harness) {
	w := newWorld(t, h)
	for _, test := range []struct {
		name string
		run  func(*world)
	}{
		{"datagrams down", capDown}, {"datagrams up", capUp}, {"less than a packet", capTiny},
		{"TCP both ways", capTCP}, {"account", capAccount}, {"one direction", capOneDirection}, {"thresholds", capThresholds},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := &world{t: t, ctx: t.Context(), rig: w.rig, dp: w.dp, node: w.node, store: w.store, traits: w.traits}
			inner.ports.Store(w.ports.Add(100))
			test.run(inner)
		})
	}
}

// capDown: with nothing but equal datagrams the cut is known to the packet, and nothing that is left over is used.
func capDown(w *world) {
	const limit = 100_000 // 97 datagrams and 284 bytes
	events := w.node.Subscribe()
	c := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: limit, Counted: quota.CountDownload}})
	pull := w.puller(c, internet4, unitPayload)
	pull.until(func() bool { return w.peerStats(c.key()).Depleted })
	w.capsReached(events, c.subject())
	w.exactly(c, limit/unit*unit)

	small := w.puller(c, internet4, 1)
	small.send(20)
	w.exactly(c, limit/unit*unit)

	const more = 5_000
	require.NoError(w.t, w.node.TopUp(w.ctx, c.subject(), more))
	pull.until(func() bool { return w.peerStats(c.key()).Depleted })
	w.exactly(c, (limit+more)/unit*unit)
	usage, err := w.node.Usage(w.ctx, c.subject())
	require.NoError(w.t, err)
	require.Equal(w.t, quota.Bytes((limit+more)/unit*unit), usage.Used)
	require.True(w.t, usage.Depleted)
}

// exactly asserts what was delivered to a client, and that the dataplane counted just that.
func (w *world) exactly(c *client, bytes uint64) {
	w.t.Helper()
	require.Equal(w.t, bytes, c.quiet(), "bytes delivered to the client")
	require.Equal(w.t, bytes, w.counters(c).Download, "bytes counted as download")
}

// capUp is capDown in the other direction, where the server says what arrived.
func capUp(w *world) {
	const limit = 100_000
	c := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: limit, Counted: quota.CountUpload}})
	s := w.serveUDP(w.at(internet4), silent)
	conn, err := c.stack.Dial(w.ctx, "udp", s.addr)
	require.NoError(w.t, err)
	defer conn.Close()
	send := func(ok func() bool) {
		w.eventually(func() bool {
			_, _ = conn.Write(make([]byte, unitPayload)) // lost like any datagram
			return ok()
		}, "the cap of %d bytes is not reached", limit)
	}
	send(func() bool { return w.peerStats(c.key()).Depleted })
	for range 50 {
		_, _ = conn.Write(make([]byte, 1))
	}
	_ = c.quiet()
	arrived, counted := s.arrived.Load(), w.counters(c).Upload
	if w.traits.SuperPackets { // datagrams that the machine was late for may have come together
		require.LessOrEqual(w.t, arrived, uint64(limit/unit), "datagrams that arrived")
		require.GreaterOrEqual(w.t, arrived, uint64(limit/unit/2), "datagrams that arrived")
		require.LessOrEqual(w.t, counted, arrived*unit)
		require.Greater(w.t, counted, arrived*unitPayload)
	} else {
		require.Equal(w.t, uint64(limit/unit), arrived, "datagrams that arrived")
		require.Equal(w.t, uint64(limit/unit*unit), counted)
	}
	require.NoError(w.t, w.node.ResetUsage(w.ctx, c.subject()))
	send(func() bool { return s.arrived.Load() > limit/unit })
}

// capTiny: a cap that the first packet does not fit into lets nothing pass.
func capTiny(w *world) {
	events := w.node.Subscribe()
	c := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: 500, Counted: quota.CountDownload}})
	w.puller(c, internet4, unitPayload).until(func() bool { return w.peerStats(c.key()).Depleted })
	w.capsReached(events, c.subject())
	w.exactly(c, 0)
}

// capTCP: connections both ways, many at once, and not a byte past the cap, whatever was under way.
func capTCP(w *world) {
	limit := uint64(1_500_000)
	c := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: quota.Bytes(limit)}})
	for _, addr := range []netip.Addr{internet4, internet6} {
		w.begin(c, tcpDown(addr))
		w.begin(c, tcpUp(addr))
	}
	check := func() {
		w.t.Helper()
		w.eventually(func() bool { return w.peerStats(c.key()).Depleted }, "the cap of %d bytes is not reached", limit)
		_ = c.quiet()
		w.agree(c)
		counters := w.counters(c)
		require.LessOrEqual(w.t, counters.Download+counters.Upload, limit, "bytes past the cap")
		require.Greater(w.t, counters.Download+counters.Upload, limit-w.cutSize(c), "the cap cut too early")
	}
	check()
	for range 2 {
		const more = 400_000
		require.NoError(w.t, w.node.TopUp(w.ctx, c.subject(), more))
		limit += more
		check() // the connections are alive still, and used it
	}
}

// capAccount: peers draw on one cap at the same time.
func capAccount(w *world) {
	const limit = 300_000
	events := w.node.Subscribe()
	w.putAccount(wgnode.AccountSpec{ID: "capped", DataCap: quota.Cap{Bytes: limit, Counted: quota.CountDownload}})
	var clients []*client
	var wg sync.WaitGroup
	for range 3 {
		c := w.join(wgnode.PeerSpec{Account: "capped", DataCap: quota.Cap{Bytes: limit}})
		clients = append(clients, c)
		p := w.puller(c, internet4, unitPayload)
		wg.Go(func() { p.send(200) })
	}
	wg.Wait()
	w.puller(clients[0], internet4, unitPayload).until(func() bool { return w.accountStats("capped").Depleted })
	w.capsReached(events, wgnode.OfAccount("capped"))
	var delivered uint64
	for _, c := range clients {
		received := c.quiet()
		require.Equal(w.t, received, w.counters(c).Download)
		delivered += received
	}
	require.Equal(w.t, uint64(limit/unit*unit), delivered)
	require.Equal(w.t, delivered, w.accountStats("capped").Counters.Download)
}

// capOneDirection: what is not counted is free, until what is counted is used up.
func capOneDirection(w *world) {
	c := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: 10_000, Counted: quota.CountDownload}})
	s := w.serveUDP(w.at(internet4), silent)
	conn, err := c.stack.Dial(w.ctx, "udp", s.addr)
	require.NoError(w.t, err)
	defer conn.Close()
	w.eventually(func() bool {
		_, _ = conn.Write(make([]byte, unitPayload))
		return s.arrived.Load() >= 30
	}, "uploads are held to a cap on downloads")
	require.False(w.t, w.peerStats(c.key()).Depleted)

	w.puller(c, internet4, unitPayload).until(func() bool { return w.peerStats(c.key()).Depleted })
	_ = c.quiet()
	arrived := s.arrived.Load()
	for range 20 {
		_, _ = conn.Write(make([]byte, unitPayload))
	}
	_ = c.quiet()
	require.Equal(w.t, arrived, s.arrived.Load(), "a subject that has used up its cap still uploads")
}

// capThresholds: the node hears of each threshold once, in order.
func capThresholds(w *world) {
	events := w.node.Subscribe()
	c := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: 100 * unit, Counted: quota.CountDownload}})
	w.puller(c, internet4, unitPayload).until(func() bool { return w.peerStats(c.key()).Depleted })
	var got []int
	w.await(events, func(e wgnode.Event) bool {
		if e.Peer == c.key() && e.Kind == wgnode.UsageThreshold {
			got = append(got, e.Percent)
		}
		return e.Peer == c.key() && e.Kind == wgnode.CapReached
	})
	require.Equal(w.t, []int{80, 100}, got)
	w.exactly(c, 100*unit)
}

// capsReached waits until the node has said of each subject that its cap is used up.
func (w *world) capsReached(events *wgnode.Subscription, subjects ...wgnode.Subject) {
	w.t.Helper()
	reached := make(map[wgnode.Subject]bool)
	w.await(events, func(e wgnode.Event) bool {
		if e.Kind == wgnode.CapReached {
			reached[wgnode.OfPeer(e.Peer)], reached[wgnode.OfAccount(e.Account)] = true, true
		}
		return !slices.ContainsFunc(subjects, func(s wgnode.Subject) bool { return !reached[s] })
	})
}

// await reads events until one is the last that is waited for.
func (w *world) await(events *wgnode.Subscription, last func(wgnode.Event) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for e := range events.All(ctx) {
		if last(e) {
			return
		}
	}
	require.Fail(w.t, "the event did not come")
}

// puller makes a server send datagrams to a client, one for each request.
type puller struct {
	w    *world
	conn net.Conn
}

func (w *world) puller(c *client, server netip.Addr, payload int) puller {
	w.t.Helper()
	s := w.serveUDP(w.at(server), func([]byte) []byte { return make([]byte, payload) })
	conn, err := c.stack.Dial(w.ctx, "udp", s.addr)
	require.NoError(w.t, err)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	w.t.Cleanup(func() {
		_ = conn.Close()
		wg.Wait()
	})
	return puller{w, conn}
}

// send makes requests, slowly enough that no queue on the way overflows.
func (p puller) send(n int) {
	for i := range n {
		_, _ = p.conn.Write([]byte{0}) // lost like any datagram
		if i%16 == 15 {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// until makes requests until ok.
func (p puller) until(ok func() bool) {
	p.w.t.Helper()
	p.w.eventually(func() bool {
		p.send(16)
		return ok()
	}, "the datagrams do not come")
}
