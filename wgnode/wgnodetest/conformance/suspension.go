package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// testSuspension suspends, resumes, rekeys and moves a peer whose cap counts on over all of it, to the byte; suspends an
// account under load, whose peers stop at once; and moves a peer under load, which is then at its new account's limit.
func testSuspension(t *testing.T, h Harness) {
	w := newWorld(t, h)
	neighbour := w.limited(tcpDown(internet6), mbit(4))
	w.suspendOne()
	w.suspendAll()
	moved := w.moveUnderLoad()
	w.hold(neighbour, moved)
	require.Nil(t, neighbour.flows[0].broken.Load(), "a neighbour's connection broke")
}

// suspendOne takes one peer through all that may come over it. Datagrams alone come to it, so that all is exact.
func (w *world) suspendOne() {
	w.t.Helper()
	const limit = 150_000 // 145 datagrams and 940 bytes
	w.putAccount(wgnode.AccountSpec{ID: "first"})
	w.putAccount(wgnode.AccountSpec{ID: "second"})
	c := w.join(wgnode.PeerSpec{
		Account: "first", SpeedLimit: both(mbit(20)), DataCap: quota.Cap{Bytes: limit, Counted: quota.CountDownload},
	})
	former := uint64(0) // bytes that were delivered to devices that are no more
	pull := func(least uint64) {
		w.t.Helper()
		w.puller(c, internet4, unitPayload).until(func() bool { return w.counters(c).Download >= least })
		w.eventually(func() bool { return former+w.calm(c) == w.counters(c).Download }, "not what was delivered is counted")
	}
	pull(limit / 5)

	require.NoError(w.t, w.node.Suspend(w.ctx, c.subject()))
	w.absent(c.key())
	before := w.calm(c)
	w.cutOff(c)
	require.Equal(w.t, before, c.quiet(), "a suspended peer receives data")
	require.Equal(w.t, former+before, w.used(c))
	c.disconnect() // lest it sends, as soon as it can, what it has in store
	require.NoError(w.t, w.node.Resume(w.ctx, c.subject()))
	former += before
	c = w.reconnect(c, c.key(), c.cfg.PrivateKey)
	pull(2 * limit / 5)

	rekeyed, err := w.node.RekeyPeer(w.ctx, c.key(), wgnode.PeerKeys{})
	require.NoError(w.t, err)
	w.absent(c.key())
	before = w.calm(c)
	w.cutOff(c)
	require.Equal(w.t, before, c.quiet(), "the former key receives data")
	former += before
	addrs := c.cfg.Addrs
	c = w.reconnect(c, rekeyed.PublicKey, rekeyed.PrivateKey)
	require.Equal(w.t, addrs, c.cfg.Addrs)
	pull(3 * limit / 5)

	require.NoError(w.t, w.node.MovePeer(w.ctx, c.key(), "second"))
	first := w.accountStats("first").Counters.Download
	require.GreaterOrEqual(w.t, first, uint64(3*limit/5))
	w.puller(c, internet4, unitPayload).until(func() bool { return w.peerStats(c.key()).Depleted })
	require.Equal(w.t, uint64(limit/unit*unit), former+w.calm(c), "bytes delivered in all")
	require.Equal(w.t, uint64(limit/unit*unit), w.counters(c).Download)
	require.Equal(w.t, first, w.accountStats("first").Counters.Download, "bytes charged to the account that it left")
	require.Equal(w.t, uint64(limit/unit*unit)-first, w.accountStats("second").Counters.Download)

	// A cap that is used up is so after a suspension.
	require.NoError(w.t, w.node.Suspend(w.ctx, c.subject()))
	c.disconnect()
	require.NoError(w.t, w.node.Resume(w.ctx, c.subject()))
	c = w.reconnect(c, c.key(), c.cfg.PrivateKey)
	w.puller(c, internet4, 1).send(20)
	require.Zero(w.t, c.quiet(), "bytes past the cap")
}

// suspendAll suspends an account while its peers move data both ways.
func (w *world) suspendAll() {
	w.t.Helper()
	w.putAccount(wgnode.AccountSpec{ID: "many", SpeedLimit: both(mbit(4))})
	var clients []*client
	var flows []*flow
	for range 2 {
		c := w.join(wgnode.PeerSpec{Account: "many"})
		clients = append(clients, c)
		flows = append(flows, w.begin(c, tcpDown(internet4)), w.begin(c, tcpUp(internet6)),
			w.begin(c, flowSpec{network: "udp", direction: quota.Upload, server: internet4, pace: mbit(1)}))
	}
	for _, f := range flows {
		w.eventually(func() bool { return f.delivered() > 50_000 }, "%s does not begin", f.name)
	}
	progress := func() (sum uint64) {
		for _, f := range flows {
			sum += f.delivered()
		}
		return sum
	}
	require.NoError(w.t, w.node.Suspend(w.ctx, wgnode.OfAccount("many")))
	for _, c := range clients {
		w.absent(c.key())
	}
	stopped := w.comesToRest(progress, "peers of a suspended account go on to move data")
	w.cutOff(clients[0])
	require.Equal(w.t, stopped, progress(), "a peer of a suspended account moves data")
	for _, f := range flows {
		f.stop()
	}
	require.NoError(w.t, w.node.Resume(w.ctx, wgnode.OfAccount("many")))
	for _, c := range clients {
		w.exits(w.reconnect(c, c.key(), c.cfg.PrivateKey))
	}
}

// moveUnderLoad moves a peer from an account to a slower one, and claims that it then has that one's speed, over the same
// connection.
func (w *world) moveUnderLoad() claim {
	w.t.Helper()
	const rate = 3
	fast := w.share("fast", mbit(9), tcpDown(internet4))
	f := fast.flows[0]
	w.eventually(func() bool { return f.delivered() > 500_000 }, "%s does not begin", f.name)
	w.putAccount(wgnode.AccountSpec{ID: "slow", SpeedLimit: both(mbit(rate))})
	require.NoError(w.t, w.node.MovePeer(w.ctx, f.client.key(), "slow"))
	require.Nil(w.t, f.broken.Load(), "the connection of a peer that was moved broke")
	w.restart(f)
	return claim{
		name: "peer moved to a slower account", flows: fast.flows, rate: mbit(rate),
		lift: w.lifter(wgnode.OfAccount("slow"), both(mbit(rate))),
	}
}

// calm is quiet for longer, lest a request that is on its way in a slow machine is answered later.
func (w *world) calm(c *client) uint64 {
	times := 2
	if w.traits.Emulated {
		times = 10
	}
	for last := c.quiet(); ; {
		still := true
		for range times {
			if now := c.quiet(); now != last {
				last, still = now, false
			}
		}
		if still {
			return last
		}
	}
}

// reconnect connects a device of a peer in place of a former one.
func (w *world) reconnect(former *client, key, private wgtypes.Key) *client {
	w.t.Helper()
	former.disconnect()
	cfg, err := w.node.ClientConfig(key, private)
	require.NoError(w.t, err)
	return connect(w, cfg)
}

// absent asserts that the dataplane does not know a peer.
func (w *world) absent(key wgtypes.Key) {
	w.t.Helper()
	stats, err := w.dp.Stats(w.ctx, wgnode.StatsQuery{Peers: []wgtypes.Key{key}})
	require.NoError(w.t, err)
	require.Empty(w.t, stats.Peers)
}

// used is what the node says that a client has received.
func (w *world) used(c *client) uint64 {
	w.t.Helper()
	usage, err := w.node.Usage(w.ctx, c.subject())
	require.NoError(w.t, err)
	return usage.Counters.Download
}
