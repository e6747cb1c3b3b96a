package conformance

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// testLifecycle puts a dataplane through every order of Start and Close. Nothing is left of any.
func testLifecycle(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*direct)
	}{
		{"never started", lifeUnused},
		{"close before start", lifeCloseFirst},
		{"close twice", lifeCloseTwice},
		{"close from many", lifeCloseConcurrent},
		{"close during start", lifeCloseDuringStart},
		{"close under load", lifeCloseUnderLoad},
		{"start twice", lifeStartTwice},
		{"start canceled", lifeStartCanceled},
		{"start with a bad state", lifeStartBadState},
		{"start obstructed", lifeStartObstructed},
		{"in force from the start", lifeInForce},
		{"notify may ask back", lifeNotify},
	} {
		t.Run(test.name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
			test.run(newDirect(newBareWorld(t, h)))
		})
	}
}

// useless asserts that a dataplane that never ran says so.
func (d *direct) useless() {
	d.t.Helper()
	d.fixed()
	_, err := d.dp.Stats(d.ctx, wgnode.StatsQuery{All: true})
	require.Error(d.t, err)
}

// fixed asserts that a dataplane that does not run takes no change.
func (d *direct) fixed() {
	d.t.Helper()
	require.Error(d.t, d.dp.Apply(d.ctx, wgnode.Change{}))
	_, err := d.dp.Sync(d.ctx, wgnode.State{})
	require.Error(d.t, err)
}

// portFree asserts that nothing listens on the dataplane's port any more.
func (d *direct) portFree() {
	d.t.Helper()
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := net.ListenUDP(network, &net.UDPAddr{Port: int(d.cfg.ListenPort)})
		require.NoError(d.t, err)
		require.NoError(d.t, conn.Close())
	}
}

func lifeUnused(d *direct) { d.useless() }

func lifeCloseFirst(d *direct) {
	require.NoError(d.t, d.dp.Close())
	_, err := d.dp.Start(d.ctx, d.cfg, wgnode.State{})
	require.Error(d.t, err)
	d.useless()
}

func lifeCloseTwice(d *direct) {
	p, private := d.peer(2)
	d.start(wgnode.State{Peers: []wgnode.PeerState{p}})
	d.exits(d.connect(p, private))
	require.NoError(d.t, d.dp.Close())
	require.NoError(d.t, d.dp.Close())
	d.portFree()
	d.fixed()
	all, err := d.dp.Stats(d.ctx, wgnode.StatsQuery{All: true, Device: true})
	require.NoError(d.t, err)
	require.Equal(d.t, []wgnode.PeerStats{d.peerStats(p.PublicKey)}, all.Peers, "what it had counted, and no handshake")
	require.NotZero(d.t, all.Peers[0].Counters)
	_, err = d.dp.Start(d.ctx, d.cfg, wgnode.State{})
	require.Error(d.t, err, "a dataplane is started after it was closed")
}

func lifeCloseConcurrent(d *direct) {
	d.start(wgnode.State{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _ = d.dp.Close() }) // the test's own Close, below, must succeed
		wg.Go(func() { _, _ = d.dp.Stats(d.ctx, wgnode.StatsQuery{All: true, Device: true}) })
		wg.Go(func() { _ = d.dp.Apply(d.ctx, wgnode.Change{}) })
	}
	wg.Wait()
	d.portFree()
}

func lifeCloseDuringStart(d *direct) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = d.dp.Start(d.ctx, d.cfg, wgnode.State{}) })
	_ = d.dp.Close()
	wg.Wait()
	require.NoError(d.t, d.dp.Close())
	d.fixed()
}

func lifeCloseUnderLoad(d *direct) {
	p, private := d.peer(2)
	p.SpeedLimit = both(mbit(20))
	q, qPrivate := d.peer(3)
	d.start(wgnode.State{Peers: []wgnode.PeerState{p, q}})
	c := d.connect(p, private)
	d.begin(c, tcpDown(internet4))
	d.begin(c, tcpUp(internet6))
	d.begin(d.connect(q, qPrivate), flowSpec{network: "udp", direction: quota.Upload, server: internet4, pace: mbit(10)})
	d.eventually(func() bool { return d.counters(c).Download > 50_000 && d.counters(c).Upload > 50_000 }, "the flows do not begin")
	require.NoError(d.t, d.dp.Close())
	received := c.quiet()
	require.Equal(d.t, received, c.quiet())
	d.portFree()
}

func lifeStartTwice(d *direct) {
	p, private := d.peer(2)
	d.start(wgnode.State{Peers: []wgnode.PeerState{p}})
	_, err := d.dp.Start(d.ctx, d.cfg, wgnode.State{})
	require.Error(d.t, err)
	require.Equal(d.t, keys(p), d.present(), "the second start has changed the first")
	d.exits(d.connect(p, private))
}

func lifeStartCanceled(d *direct) {
	_, err := d.dp.Start(canceled(), d.cfg, wgnode.State{})
	require.ErrorIs(d.t, err, context.Canceled)
	d.useless()
}

func lifeStartBadState(d *direct) {
	p, _ := d.peer(2)
	p.Account = "nobody"
	_, err := d.dp.Start(d.ctx, d.cfg, wgnode.State{Peers: []wgnode.PeerState{p}})
	require.Error(d.t, err)
	d.useless()
}

// lifeStartObstructed: a start that fails half-way leaves nothing, and a dataplane after it finds the way free.
func lifeStartObstructed(d *direct) {
	rig, ok := d.rig.(ObstructableRig)
	if !ok {
		d.t.Skip("the rig cannot make a start fail half-way")
	}
	release, err := rig.Obstruct(&d.cfg)
	require.NoError(d.t, err)
	p, private := d.peer(2)
	want := wgnode.State{Peers: []wgnode.PeerState{p}}
	_, err = d.dp.Start(d.ctx, d.cfg, want)
	release()
	require.Error(d.t, err)
	d.useless()
	require.NoError(d.t, d.dp.Close())

	d.dp = d.dataplane()
	d.start(want)
	d.exits(d.connect(p, private))
}

// lifeInForce: what a dataplane is started with holds for the first packets already.
func lifeInForce(d *direct) {
	capped, cappedPrivate := d.peer(2)
	capped.Budget = quota.Budget{Limited: true, Limit: 5 * unit, Counted: quota.CountDownload}
	banned, bannedPrivate := d.peer(3)
	open, openPrivate := d.peer(4)
	d.start(wgnode.State{
		Peers: []wgnode.PeerState{capped, banned, open},
		Policy: isolation.Policy{Deny: []isolation.Rule{{
			From: isolation.Match{Peers: []string{banned.PublicKey.String()}},
		}}},
	})
	c := d.connect(capped, cappedPrivate)
	d.puller(c, internet4, unitPayload).until(func() bool { return d.peerStats(c.key()).Depleted })
	d.exactly(c, 5*unit)
	d.eventually(d.told(wgnode.BudgetReached), "the node is not told that the budget is used up")
	d.cutOff(d.connect(banned, bannedPrivate))
	d.exits(d.connect(open, openPrivate))
}

// lifeNotify: whoever is notified may ask the dataplane at once, as no lock is held.
func lifeNotify(d *direct) {
	answered := make(chan bool, 16)
	d.cfg.Notify = func(wgnode.DataplaneEvent) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = d.dp.Stats(context.Background(), wgnode.StatsQuery{All: true})
		}()
		select {
		case <-done:
			answered <- true
		case <-time.After(2 * time.Second):
			answered <- false
		}
	}
	p, _ := d.peer(2)
	d.start(wgnode.State{})
	p.Budget, p.Counters = quota.Budget{Limited: true, Limit: 100}, quota.Counters{Download: 100}
	d.apply(wgnode.Change{SetPeers: []wgnode.PeerState{p}})
	select {
	case ok := <-answered:
		require.True(d.t, ok, "Notify is called with a lock held that Stats needs")
	case <-time.After(patience):
		require.Fail(d.t, "a budget that is used up when it is set is not reported")
	}
}
