package conformance

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// testStats: the counters are the bytes that both ends saw, and the rest is there when it is asked for.
func testStats(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.putAccount(wgnode.AccountSpec{ID: "account"})
	a, b := w.join(wgnode.PeerSpec{Account: "account"}), w.join(wgnode.PeerSpec{Account: "account"})
	idle, err := w.node.AddPeer(w.ctx, wgnode.PeerSpec{})
	require.NoError(t, err)

	start := time.Now()
	const requests = 100
	for _, c := range []*client{a, b} {
		s := w.serveUDP(w.at(internet4), func([]byte) []byte { return make([]byte, unitPayload) })
		conn, err := c.stack.Dial(w.ctx, "udp", s.addr)
		require.NoError(t, err)
		defer conn.Close()
		for range requests {
			_, err := conn.Write(make([]byte, 100))
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
			_, err = conn.Read(make([]byte, 2*unitPayload))
			require.NoError(t, err)
		}
		require.Equal(t, uint64(requests*unit), c.received.bytes.Load())
		require.Equal(t, quota.Counters{Download: requests * unit, Upload: requests * (unit - unitPayload + 100)}, w.counters(c))
	}
	sum := w.counters(a)
	sum.Download *= 2
	sum.Upload *= 2
	require.Equal(t, sum, w.accountStats("account").Counters)

	// A place in the query is a place in the answer, and what is not there is left out.
	stranger, err := wgtypes.GenerateKey()
	require.NoError(t, err)
	stats, err := w.dp.Stats(w.ctx, wgnode.StatsQuery{
		Peers: []wgtypes.Key{b.key(), stranger, idle.PublicKey, a.key()}, Accounts: []string{"nobody", "account"}, Device: true,
	})
	require.NoError(t, err)
	require.Len(t, stats.Peers, 3)
	require.Len(t, stats.Accounts, 1)
	for i, key := range []wgtypes.Key{b.key(), idle.PublicKey, a.key()} {
		p := stats.Peers[i]
		require.Equal(t, key, p.PublicKey)
		require.False(t, p.Depleted)
		if key == idle.PublicKey {
			require.Equal(t, wgnode.PeerStats{PublicKey: key}, p)
			continue
		}
		require.WithinRange(t, p.LastHandshake, start.Add(-time.Minute), time.Now().Add(time.Second))
		require.True(t, p.Endpoint.IsValid(), "the endpoint of a peer that was heard from")
		require.GreaterOrEqual(t, p.Received, p.Counters.Upload, "WireGuard received at least what was in it")
		require.GreaterOrEqual(t, p.Sent, p.Counters.Download)
	}
	for _, query := range []wgnode.StatsQuery{{All: true}, {Peers: []wgtypes.Key{a.key()}}} {
		stats, err = w.dp.Stats(w.ctx, query)
		require.NoError(t, err)
		for _, p := range stats.Peers {
			require.Zero(t, p.LastHandshake, "what was not asked for")
			require.Zero(t, p.Endpoint, "what was not asked for")
			require.Zero(t, p.Received+p.Sent, "what was not asked for")
		}
		require.Nil(t, stats.Problems, "what was not asked for")
	}
	stats, err = w.dp.Stats(w.ctx, wgnode.StatsQuery{All: true, Device: true})
	require.NoError(t, err)
	require.Len(t, stats.Peers, 3)
	require.Len(t, stats.Accounts, 1)
	stats, err = w.dp.Stats(w.ctx, wgnode.StatsQuery{})
	require.NoError(t, err)
	require.Empty(t, stats.Peers)
	require.Empty(t, stats.Accounts)
	_, err = w.dp.Stats(canceled(), wgnode.StatsQuery{All: true})
	require.ErrorIs(t, err, canceled().Err())
}

// testRestart: another dataplane goes on where one was closed, and a cap counts on over each of them.
func testRestart(t *testing.T, h Harness) {
	w := newBareWorld(t, h)
	const limit = 100_000
	w.startNode()
	w.putAccount(wgnode.AccountSpec{ID: "account", DataCap: quota.Cap{Bytes: 10 * limit}})
	c := w.join(wgnode.PeerSpec{
		Account: "account", SpeedLimit: both(mbit(20)), DataCap: quota.Cap{Bytes: limit, Counted: quota.CountDownload},
	})
	cut := w.join(wgnode.PeerSpec{DataCap: quota.Cap{Bytes: 500, Counted: quota.CountDownload}})
	w.puller(c, internet4, unitPayload).until(func() bool { return w.counters(c).Download > limit/3 })
	// This one is cut off with 500 bytes left, and is to stay so.
	w.puller(cut, internet4, unitPayload).until(func() bool { return w.peerStats(cut.key()).Depleted })
	former := uint64(0) // what the devices of former dataplanes have received
	// delivered is what has come to the peer's devices in all, once nothing is under way any more.
	delivered := func() uint64 {
		t.Helper()
		w.eventually(func() bool { return former+w.calm(c) == w.counters(c).Download }, "not what was delivered is counted")
		return w.counters(c).Download
	}
	for _, enough := range []func() bool{
		func() bool { return w.counters(c).Download > 2*limit/3 },
		func() bool { return w.peerStats(c.key()).Depleted },
	} {
		former = delivered()
		before, account := w.counters(c), w.accountStats("account").Counters
		require.NoError(t, w.node.Close())
		w.startNode()
		require.Equal(t, before, w.counters(c), "counters after a restart")
		require.Equal(t, account, w.accountStats("account").Counters)
		c, cut = w.reconnect(c, c.key(), c.cfg.PrivateKey), w.reconnect(cut, cut.key(), cut.cfg.PrivateKey)
		w.puller(c, internet4, unitPayload).until(enough)
		w.puller(cut, internet4, 1).send(20)
		require.Zero(t, w.calm(cut), "who was cut off before the restart is not any more")
	}
	require.Equal(t, uint64(limit/unit*unit), delivered(), "bytes delivered before and after the restarts")
}

// testClosing closes a node while packets pass. The next one says that just that was used which has come to its end, or, where
// what was counted may be lost on the last stretch to the peer's device, no less.
func testClosing(t *testing.T, h Harness) {
	w := newBareWorld(t, h)
	seldom := func(c *wgnode.Config) { c.CheckpointPeriod = time.Hour }
	w.startNode(seldom)
	w.putAccount(wgnode.AccountSpec{ID: "account"})
	free := w.join(wgnode.PeerSpec{Account: "account"})
	shaped := w.join(wgnode.PeerSpec{Account: "account", SpeedLimit: both(mbit(20))})
	reader := w.join(wgnode.PeerSpec{})
	up := map[*client]*server{free: w.pushUDP(free, internet4), shaped: w.pushUDP(shaped, internet4)}
	down := w.begin(reader, flowSpec{network: "udp", direction: quota.Download, server: internet4, pace: mbit(4)})
	w.eventually(func() bool {
		return up[free].arrived.Load() > pushPorts && up[shaped].arrived.Load() > pushPorts && down.delivered() > 100_000
	}, "the flows do not begin")
	require.NoError(t, w.node.Close())
	for _, c := range []*client{free, shaped, reader} {
		c.disconnect()
	}
	w.startNode(seldom)
	usage := func(s wgnode.Subject) quota.Counters {
		u, err := w.node.Usage(w.ctx, s)
		require.NoError(t, err)
		return u.Counters
	}
	var total uint64
	for c, s := range up {
		used := usage(c.subject()).Upload / unit
		total += used * unit
		w.eventually(func() bool { return s.arrived.Load() >= used }, "%d datagrams were counted, and less have arrived", used)
		require.Equal(t, used, s.arrived.Load())
		require.Equal(t, quota.Counters{Upload: used * unit}, usage(c.subject()))
	}
	require.Equal(t, quota.Counters{Upload: total}, usage(wgnode.OfAccount("account")))
	require.GreaterOrEqual(t, usage(reader.subject()).Download, down.delivered())
}

// pushPorts is how many ports pushUDP sends from: more than the packets that a batch has (conn.IdealBatchSize), so that no two
// datagrams of one port meet in one, and are counted as one.
const pushPorts = 160

// pushUDP has a client send datagrams that make packets of a unit to a server of its own, until the test ends.
func (w *world) pushUDP(c *client, to netip.Addr) *server {
	w.t.Helper()
	s := w.serveUDP(w.at(to), silent)
	conns := make([]net.Conn, pushPorts)
	for i := range conns {
		var err error
		conns[i], err = c.stack.Dial(w.ctx, "udp", s.addr)
		require.NoError(w.t, err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			_, _ = conns[i%len(conns)].Write(make([]byte, unitPayload)) // lost like any datagram
			select {
			case <-pace.C:
			case <-done:
				return
			}
		}
	})
	w.t.Cleanup(func() {
		close(done)
		wg.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return s
}
