package conformance

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// testChurn adds, changes and removes peers without rest while others move data, who notice nothing: their rates stay,
// their connections live, and not a datagram is lost.
func testChurn(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.putAccount(wgnode.AccountSpec{ID: "busy", SpeedLimit: both(mbit(50))})
	claims := []claim{
		w.limited(tcpDown(internet4), mbit(4)), w.limited(tcpUp(internet6), mbit(3)),
		w.limited(flowSpec{network: "udp", direction: quota.Download, server: internet4, pace: mbit(3)}, mbit(2)),
	}
	ctx, cancel := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	rounds, sent, answered := 0, 0, 0
	var failed error
	call, err := w.join(wgnode.PeerSpec{Account: "busy"}).stack.Dial(ctx, "udp", w.serveUDP(w.at(internet4), same).addr)
	require.NoError(t, err)
	defer call.Close()
	wg.Go(func() { sent, answered = speak(ctx, call) })
	wg.Go(func() { rounds, failed = w.churn(ctx) })
	w.hold(claims...)
	cancel()
	wg.Wait()
	require.NoError(t, failed)
	least := 10
	if w.traits.Emulated {
		least = 0
	}
	require.Greater(t, rounds, least, "too little was changed to say anything")
	require.Equal(t, sent, answered, "datagrams of a neighbour are lost")
	t.Logf("%d peers added, changed and removed; %d datagrams of a neighbour, none lost", rounds, sent)
}

// speak exchanges small datagrams with an echo server one by one, until ctx ends.
func speak(ctx context.Context, conn net.Conn) (sent, answered int) {
	for ; ctx.Err() == nil; sent++ {
		if _, err := conn.Write(make([]byte, 160)); err != nil {
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience / 4)) // of a stack that has not closed
		if _, err := conn.Read(make([]byte, 200)); err == nil {
			answered++
		}
		time.Sleep(5 * time.Millisecond)
	}
	return sent, answered
}

// churn changes what there is to change, in rounds, until ctx ends.
func (w *world) churn(ctx context.Context) (rounds int, err error) {
	for ; ctx.Err() == nil; rounds++ {
		// The world's own context: a round that was begun is finished.
		added, err := w.node.AddPeer(w.ctx, wgnode.PeerSpec{
			Account: "busy", SpeedLimit: both(mbit(7)), DataCap: quota.Cap{Bytes: 1 << 30}, Labels: map[string]string{"n": "1"},
		})
		if err != nil {
			return rounds, err
		}
		s := wgnode.OfPeer(added.PublicKey)
		policy := isolation.Policy{Allow: []isolation.Rule{{
			From: isolation.Match{Labels: map[string]string{"n": "1"}}, To: isolation.Match{Accounts: []string{"busy"}},
		}}}
		for _, change := range []func() error{
			func() error { return w.node.SetSpeedLimit(w.ctx, s, shaping.Limit{Upload: mbit(1)}) },
			func() error {
				return w.node.SetDataCap(w.ctx, s, quota.Cap{Bytes: 2 << 30, Counted: quota.CountUpload})
			},
			func() error { return w.node.SetPolicy(w.ctx, policy) },
			func() error {
				return w.node.SetSpeedLimit(w.ctx, wgnode.OfAccount("busy"), both(mbit(50)+shaping.Rate(rounds%2)*1e6))
			},
			func() error { return w.node.RemovePeer(w.ctx, added.PublicKey) },
			func() error { return w.node.SetPolicy(w.ctx, isolation.Policy{}) },
		} {
			if err := change(); err != nil {
				return rounds, err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return rounds, nil
}

// testRemoval removes peers under load: their traffic stops at once, others' goes on; and the same peer, or another with
// the same addresses, can come in their place.
func testRemoval(t *testing.T, h Harness) {
	w := newWorld(t, h)
	leaving := wgnode.PeerSpec{SpeedLimit: both(mbit(10))}
	a := w.join(leaving)
	down, up := w.begin(a, tcpDown(internet4)), w.begin(a, tcpUp(internet6))
	datagrams := w.begin(a, flowSpec{network: "udp", direction: quota.Upload, server: internet4, pace: mbit(2)})
	neighbour := w.limited(tcpDown(internet6), mbit(4))
	free := w.join(wgnode.PeerSpec{}) // without a limit packets may take a shorter way through a dataplane
	flows := []*flow{
		down, up, datagrams,
		w.begin(free, flowSpec{network: "udp", direction: quota.Download, server: internet6, pace: mbit(2)}),
		w.begin(free, flowSpec{network: "udp", direction: quota.Upload, server: internet6, pace: mbit(2)}),
	}
	progress := func() (sum uint64) {
		for _, f := range flows {
			sum += f.delivered()
		}
		return sum
	}
	for _, f := range flows {
		w.eventually(func() bool { return f.delivered() > 50_000 }, "%s does not begin", f.name)
	}
	require.NoError(t, w.node.RemovePeer(w.ctx, a.key()))
	require.NoError(t, w.node.RemovePeer(w.ctx, free.key()))
	stats, err := w.dp.Stats(w.ctx, wgnode.StatsQuery{All: true})
	require.NoError(t, err)
	require.Len(t, stats.Peers, 1)
	stopped := w.comesToRest(progress, "peers that were removed go on to move data")
	w.hold(neighbour)
	require.Equal(t, stopped, progress(), "a peer that was removed moves data")
	for _, f := range flows {
		f.stop()
	}

	// The same key again, with the same addresses; then another key with them.
	leaving.PublicKey, leaving.Addrs = a.key(), a.cfg.Addrs
	again := w.rejoin(a, leaving)
	require.NoError(t, w.node.RemovePeer(w.ctx, a.key()))
	w.cutOff(again)
	successor := w.join(wgnode.PeerSpec{Addrs: a.cfg.Addrs})
	w.exits(successor)
	require.Equal(t, a.cfg.Addrs, successor.cfg.Addrs)
	w.cutOff(again)
	require.Nil(t, neighbour.flows[0].broken.Load(), "a neighbour's connection broke")
}

// rejoin adds a peer that was removed, and connects its device anew.
func (w *world) rejoin(former *client, spec wgnode.PeerSpec) *client {
	w.t.Helper()
	former.disconnect()
	_, err := w.node.AddPeer(w.ctx, spec)
	require.NoError(w.t, err)
	cfg, err := w.node.ClientConfig(former.key(), former.cfg.PrivateKey)
	require.NoError(w.t, err)
	c := connect(w, cfg)
	w.exits(c)
	require.Less(w.t, w.counters(c).Download, uint64(50_000), "counters of a peer that was removed")
	return c
}
