package conformance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// testKeyOverlap has the dataplane serve two keys of the node's: who is connected with the former one stays so and loses nothing,
// others connect with either, one goes from the one to the other with its address, its limit and its cap, and at the end the former
// key is of no use, while sessions of the next one go on. A beginning can be undone.
func testKeyOverlap(t *testing.T, h Harness) {
	o := newOverlap(t, h)
	o.begins()
	o.bothConnect()
	o.oneMoves()
	o.ends()
	o.isUndone()
	o.starts()
}

// overlap is a dataplane with peers that know it by one key or the other.
type overlap struct {
	*direct
	changer wgnode.KeyChanger
	// first is the key that the dataplane starts with, second the next one.
	first, second wgtypes.Key

	private map[wgtypes.Key]wgtypes.Key // of peers
	state   wgnode.State
	// stays, late and early are connected with the first key before the overlap, with the first key and with the second one during
	// it; mover has one after the other.
	stays, late, early, mover *client
}

const (
	moverLimit = 100_000
	moverRate  = 20
)

func newOverlap(t *testing.T, h Harness) *overlap {
	t.Helper()
	o := &overlap{direct: newDirect(newBareWorld(t, h)), private: make(map[wgtypes.Key]wgtypes.Key)}
	var ok bool
	if o.changer, ok = o.dp.(wgnode.KeyChanger); !ok {
		t.Skip("the dataplane is no wgnode.KeyChanger: the node's key changes with a start only")
	}
	o.first, o.second = o.cfg.PrivateKey, o.newKey()
	for number := range 4 {
		p, private := o.peer(byte(number + 2))
		if number == 3 {
			p.SpeedLimit = both(mbit(moverRate))
			p.Budget = quota.Budget{Limited: true, Limit: moverLimit, Counted: quota.CountDownload}
		}
		o.private[p.PublicKey] = private
		o.state.Peers = append(o.state.Peers, p)
	}
	o.start(o.state)
	return o
}

func (o *overlap) newKey() wgtypes.Key {
	o.t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(o.t, err)
	return key
}

// with connects the device of a peer, which knows the node by a key.
func (o *overlap) with(number int, key wgtypes.Key) *client {
	o.t.Helper()
	o.cfg.PrivateKey = key
	p := o.state.Peers[number]
	return o.connect(p, o.private[p.PublicKey])
}

// setKeys gives the dataplane keys, twice, and looks whether it is content with them.
func (o *overlap) setKeys(key, former wgtypes.Key) {
	o.t.Helper()
	for range 2 {
		require.NoError(o.t, o.changer.SetKeys(o.ctx, key, former))
	}
	o.inSync(o.state)
}

// shaken is when a peer has shaken hands last, which was with the former key, or not.
func (o *overlap) shaken(c *client, former bool) time.Time {
	o.t.Helper()
	stats, err := o.dp.Stats(o.ctx, wgnode.StatsQuery{Peers: []wgtypes.Key{c.key()}, Device: true})
	require.NoError(o.t, err)
	require.Len(o.t, stats.Peers, 1)
	require.False(o.t, stats.Peers[0].LastHandshake.IsZero())
	require.Equal(o.t, former, stats.Peers[0].FormerKey)
	return stats.Peers[0].LastHandshake
}

// begins: a peer speaks while it begins, and not a datagram is lost.
func (o *overlap) begins() {
	o.t.Helper()
	o.stays = o.with(0, o.first)
	o.exits(o.stays)
	if err := o.changer.SetKeys(o.ctx, o.second, o.first); errors.Is(err, wgnode.ErrNotSupported) {
		o.exits(o.stays)
		o.t.Skipf("says the dataplane: %v", err)
	}
	require.NoError(o.t, o.changer.SetKeys(o.ctx, o.first, wgtypes.Key{}))
	before := o.shaken(o.stays, false)

	ctx, cancel := context.WithCancel(o.ctx)
	call, err := o.stays.stack.Dial(ctx, "udp", o.serveUDP(o.at(internet4), same).addr)
	require.NoError(o.t, err)
	defer call.Close()
	sent, answered := 0, 0
	var wg sync.WaitGroup
	wg.Go(func() { sent, answered = speak(ctx, call) })
	o.setKeys(o.second, o.first)
	o.exits(o.stays)
	cancel()
	wg.Wait()
	require.NotZero(o.t, sent)
	require.Equal(o.t, sent, answered, "datagrams of a peer that is connected are lost")
	require.Equal(o.t, before, o.shaken(o.stays, true), "a peer that is connected has to shake hands anew")
}

func (o *overlap) bothConnect() {
	o.t.Helper()
	o.early, o.late = o.with(1, o.second), o.with(2, o.first)
	o.exits(o.early)
	o.exits(o.late)
	o.exits(o.stays)
}

// oneMoves: what a peer used by both keys is one sum, to the byte.
func (o *overlap) oneMoves() {
	o.t.Helper()
	var received uint64
	for i, key := range []wgtypes.Key{o.first, o.second, o.first, o.second} {
		if o.mover != nil {
			o.mover.disconnect()
			time.Sleep(timestampGrain)
		}
		o.mover = o.with(3, key)
		want := uint64(moverLimit * (i + 1) / 5)
		o.puller(o.mover, internet4, unitPayload).until(func() bool { return o.counters(o.mover).Download >= want })
		o.eventually(func() bool { return received+o.calm(o.mover) == o.counters(o.mover).Download }, "not what was delivered is counted")
		received += o.calm(o.mover)
	}
	before := o.calm(o.mover)
	o.puller(o.mover, internet4, unitPayload).until(func() bool { return o.peerStats(o.mover.key()).Depleted })
	require.Equal(o.t, uint64(moverLimit/unit*unit), received-before+o.calm(o.mover), "bytes delivered in all")
	require.Equal(o.t, uint64(moverLimit/unit*unit), o.counters(o.mover).Download)
}

// timestampGrain is how far apart two handshakes of a device must be that begins anew (wireguard-go, tai64n).
const timestampGrain = 20 * time.Millisecond

// ends: from the return on nothing of the former key passes.
func (o *overlap) ends() {
	o.t.Helper()
	before := o.shaken(o.early, false)
	stop := o.sendAlways(o.late, o.serveUDP(o.at(internet4), silent))
	o.setKeys(o.second, wgtypes.Key{})
	time.Sleep(inFlight)
	counted := o.counters(o.late)
	stop()
	for _, c := range []*client{o.stays, o.late} {
		heard := c.quiet()
		o.cutOff(c)
		require.Equal(o.t, heard, c.quiet(), "a session of the former key receives data")
	}
	require.Equal(o.t, counted, o.counters(o.late), "a session of the former key moves data")
	o.exits(o.early)
	require.Equal(o.t, before, o.shaken(o.early, false), "a peer of the next key has to shake hands anew")
	o.stays.disconnect()
	o.stays = o.with(0, o.first)
	o.cutOff(o.stays)
	require.Zero(o.t, o.stays.quiet(), "the former key is of use")
}

// isUndone: who is connected does not notice that another key was there.
func (o *overlap) isUndone() {
	o.t.Helper()
	before, third := o.shaken(o.early, false), o.newKey()
	o.setKeys(third, o.second)
	require.Equal(o.t, before, o.shaken(o.early, true))
	o.stays.disconnect()
	o.stays = o.with(0, third)
	o.exits(o.stays)
	o.setKeys(o.second, wgtypes.Key{})
	o.cutOff(o.stays)
	o.exits(o.early)
	require.Equal(o.t, before, o.shaken(o.early, false), "a peer that is connected has to shake hands anew")
}

// starts: a dataplane serves both keys from its start.
func (o *overlap) starts() {
	o.t.Helper()
	for _, c := range []*client{o.stays, o.late, o.early, o.mover} {
		c.disconnect()
	}
	require.NoError(o.t, o.dp.Close())
	next := newDirect(o.world)
	o.cfg = next.cfg
	o.direct = next
	o.changer = o.dp.(wgnode.KeyChanger)
	o.cfg.PrivateKey, o.cfg.FormerKey = o.second, o.first
	o.start(o.state)
	o.inSync(o.state)
	o.early, o.late = o.with(1, o.second), o.with(2, o.first)
	o.exits(o.early)
	o.exits(o.late)
	o.setKeys(o.second, wgtypes.Key{})
	o.cutOff(o.late)
	o.exits(o.early)
}
