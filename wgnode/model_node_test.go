package wgnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// TestNodeAgainstModel drives a node and the model with the same operations, faults and restarts among them, in a bubble
// whose clock runs as fast as it is asked to.
func TestNodeAgainstModel(t *testing.T) {
	keys := make([]wgtypes.Key, 5)
	for i := range keys {
		keys[i] = newKey(t)
	}
	rapid.Check(t, func(rt *rapid.T) {
		// What fails in the bubble's goroutine has to fail in rapid's.
		var failure any
		synctest.Test(t, func(t *testing.T) {
			d := &driver{rt: rt, model: &model{now: time.Now()}, keys: keys, rig: startRig(t, unhurried), again: unhurried}
			defer func() {
				failure = recover()
				d.rig.dataplane.setHook(nil)
				d.rig.store.set(nil, nil)
				d.rig.Close()
			}()
			d.t = t
			d.run()
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// unhurried keeps a bubble that sleeps for days from being busy with periods.
func unhurried(c *Config) { c.SyncPeriod, c.CheckpointPeriod = 30*time.Minute, 20*time.Minute }

// driver does one thing to a node and to the model, and compares them.
type driver struct {
	t     *testing.T
	rt    *rapid.T
	rig   *rig
	model *model
	keys  []wgtypes.Key
	// again is what is said of a node that takes the place of another.
	again func(*Config)
}

func (d *driver) run() {
	d.rt.Repeat(d.actions())
}

func (d *driver) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"add peer":       d.addPeer,
		"remove peer":    d.removePeer,
		"put account":    d.putAccount,
		"remove account": d.removeAccount,
		"set limit":      d.setLimit,
		"set cap":        d.setCap,
		"top up":         d.topUp,
		"reset usage":    d.resetUsage,
		"traffic":        d.traffic,
		"sleep":          d.sleep,
		"restart":        d.restart,
		"lose":           d.lose,
		"":               d.compare,

		"suspend":           func(rt *rapid.T) { d.suspend(rt, true) },
		"resume":            func(rt *rapid.T) { d.suspend(rt, false) },
		"rekey peer":        d.rekeyPeer,
		"rekey account":     d.rekeyAccount,
		"move peer":         d.movePeer,
		"move peers":        d.movePeers,
		"remove with peers": d.removeWithPeers,
		"set expiry":        d.setExpiry,
		"set grace period":  d.setGracePeriod,
		"set idle timeout":  d.setIdleTimeout,
		"shake hands":       d.shake,
	}
}

// attempt makes a call, at times with a fault in its way, and reports whether it was made. A call that the fault hit must
// say so; any other must end as the model says it does.
func (d *driver) attempt(rt *rapid.T, want error, call func(context.Context) error) (made bool) {
	ctx := context.Background()
	if at := rapid.Int64Range(-8, 3).Draw(rt, "fault"); at >= 0 {
		f := &fault{at: at, strike: func() error { return errInjected }}
		d.rig.dataplane.setHook(func(context.Context, string) error { return f.hit() })
		if rapid.Bool().Draw(rt, "store lies") {
			d.rig.store.set(nil, func([]Mutation) error { return f.hit() })
		} else {
			d.rig.store.set(func([]Mutation) error { return f.hit() }, nil)
		}
		defer func() {
			d.rig.dataplane.setHook(nil)
			d.rig.store.set(nil, nil)
		}()
	}
	err := call(ctx)
	if errors.Is(err, errInjected) {
		return false
	}
	if want == nil {
		require.NoError(rt, err)
	} else {
		require.ErrorIs(rt, err, want)
	}
	return want == nil
}

func drawLimit(rt *rapid.T) shaping.Limit {
	rates := rapid.SampledFrom([]shaping.Rate{0, 8_000, 20_000_000})
	return shaping.Limit{Download: rates.Draw(rt, "download"), Upload: rates.Draw(rt, "upload")}
}

func drawCap(rt *rapid.T) quota.Cap {
	return rapid.SampledFrom([]quota.Cap{
		{}, {Bytes: 1_000}, {Bytes: 5_000}, {Bytes: 1_000, Period: quota.Period{Kind: quota.Daily}},
		{Bytes: 3_000, Period: quota.Period{Kind: quota.Daily}, Thresholds: []int{10, 20}},
	}).Draw(rt, "cap")
}

func drawAccount(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "account")
}

func (d *driver) drawKey(rt *rapid.T) wgtypes.Key {
	keys := slices.Clone(d.keys)
	for _, p := range d.model.peers {
		if !slices.Contains(keys, p.spec.PublicKey) { // the node made it
			keys = append(keys, p.spec.PublicKey)
		}
	}
	return keys[rapid.IntRange(0, len(keys)-1).Draw(rt, "key")]
}

func (d *driver) drawSubject(rt *rapid.T) Subject {
	if rapid.Bool().Draw(rt, "peer") {
		return OfPeer(d.drawKey(rt))
	}
	return OfAccount(drawAccount(rt))
}

func (d *driver) addPeer(rt *rapid.T) {
	spec := PeerSpec{
		PublicKey: d.drawKey(rt), SpeedLimit: drawLimit(rt), DataCap: drawCap(rt),
		GracePeriod: drawGracePeriod(rt), IdleTimeout: drawIdleTimeout(rt),
	}
	if rapid.Bool().Draw(rt, "in account") {
		spec.Account = drawAccount(rt)
	}
	if rapid.Bool().Draw(rt, "expires") {
		spec.ExpiresAt = time.Now().UTC().Add(time.Duration(rapid.IntRange(1, 50).Draw(rt, "hours")) * time.Hour)
	}
	old := d.model.peer(spec.PublicKey)
	if old != nil && rapid.Bool().Draw(rt, "the same") {
		spec = old.spec
	}
	var want error
	switch {
	case spec.Account != "" && d.model.account(spec.Account) == nil:
		want = ErrInvalid
	case old != nil && !sameSpec(old.spec, spec):
		want = ErrExists
	}
	var added AddedPeer
	made := d.attempt(rt, want, func(ctx context.Context) (err error) {
		added, err = d.rig.AddPeer(ctx, spec)
		return err
	})
	if made {
		require.Equal(rt, old == nil, added.Created)
		if old == nil {
			d.model.peers = append(d.model.peers, &modelPeer{spec: spec, tally: modelTally{limit: spec.DataCap}})
		}
	}
}

func sameSpec(a, b PeerSpec) bool {
	return a.Account == b.Account && a.SpeedLimit == b.SpeedLimit && a.DataCap.Equal(b.DataCap) && a.ExpiresAt.Equal(b.ExpiresAt) &&
		a.GracePeriod == b.GracePeriod && a.IdleTimeout == b.IdleTimeout
}

func (d *driver) removePeer(rt *rapid.T) {
	key := d.drawKey(rt)
	var want error
	if d.model.peer(key) == nil {
		want = ErrNotFound
	}
	if d.attempt(rt, want, func(ctx context.Context) error { return d.rig.RemovePeer(ctx, key) }) {
		d.model.peers = slices.DeleteFunc(d.model.peers, func(p *modelPeer) bool { return p.spec.PublicKey == key })
	}
}

func (d *driver) putAccount(rt *rapid.T) {
	spec := AccountSpec{ID: drawAccount(rt), SpeedLimit: drawLimit(rt), DataCap: drawCap(rt)}
	made := d.attempt(rt, nil, func(ctx context.Context) error {
		_, err := d.rig.PutAccount(ctx, spec)
		return err
	})
	if !made {
		return
	}
	if a := d.model.account(spec.ID); a != nil {
		if !a.spec.DataCap.Equal(spec.DataCap) {
			a.tally.setCap(spec.DataCap)
		}
		a.spec = spec
		return
	}
	d.model.accounts = append(d.model.accounts, &modelAccount{spec: spec, tally: modelTally{limit: spec.DataCap}})
}

func (d *driver) removeAccount(rt *rapid.T) {
	id := drawAccount(rt)
	var want error
	switch {
	case d.model.account(id) == nil:
		want = ErrNotFound
	case slices.ContainsFunc(d.model.peers, func(p *modelPeer) bool { return p.spec.Account == id }):
		want = ErrAccountInUse
	}
	if d.attempt(rt, want, func(ctx context.Context) error { return d.rig.RemoveAccount(ctx, id) }) {
		d.model.accounts = slices.DeleteFunc(d.model.accounts, func(a *modelAccount) bool { return a.spec.ID == id })
	}
}

// set makes a change to a subject in both.
func (d *driver) set(rt *rapid.T, s Subject, want error, call func(context.Context) error, change func(*modelTally)) {
	tally := d.model.tally(s)
	if tally == nil {
		want = ErrNotFound
	}
	if d.attempt(rt, want, call) {
		change(tally)
	}
}

func (d *driver) setLimit(rt *rapid.T) {
	s, limit := d.drawSubject(rt), drawLimit(rt)
	d.set(rt, s, nil, func(ctx context.Context) error { return d.rig.SetSpeedLimit(ctx, s, limit) }, func(*modelTally) {
		if key, ok := s.Peer(); ok {
			d.model.peer(key).spec.SpeedLimit = limit
		} else {
			id, _ := s.Account()
			d.model.account(id).spec.SpeedLimit = limit
		}
	})
}

func (d *driver) setCap(rt *rapid.T) {
	s, limit := d.drawSubject(rt), drawCap(rt)
	d.set(rt, s, nil, func(ctx context.Context) error { return d.rig.SetDataCap(ctx, s, limit) }, func(tally *modelTally) {
		if !tally.limit.Equal(limit) {
			tally.setCap(limit)
		}
		if key, ok := s.Peer(); ok {
			d.model.peer(key).spec.DataCap = limit
		} else {
			id, _ := s.Account()
			d.model.account(id).spec.DataCap = limit
		}
	})
}

func (d *driver) topUp(rt *rapid.T) {
	s, more := d.drawSubject(rt), rapid.IntRange(0, 2_000).Draw(rt, "bytes")
	var want error
	if tally := d.model.tally(s); more == 0 || tally != nil && tally.limit.Bytes == 0 {
		want = ErrInvalid
	}
	d.set(rt, s, want, func(ctx context.Context) error { return d.rig.TopUp(ctx, s, quota.Bytes(more)) },
		func(tally *modelTally) { tally.change(func() { tally.extra += more }) })
}

func (d *driver) resetUsage(rt *rapid.T) {
	s := d.drawSubject(rt)
	d.set(rt, s, nil, func(ctx context.Context) error { return d.rig.ResetUsage(ctx, s) },
		func(tally *modelTally) { tally.change(func() { tally.used = 0 }) })
}

func (d *driver) traffic(rt *rapid.T) {
	key, n := d.drawKey(rt), rapid.IntRange(1, 900).Draw(rt, "bytes")
	direction := rapid.SampledFrom([]quota.Direction{quota.Download, quota.Upload}).Draw(rt, "direction")
	p := d.model.peer(key)
	passes := false
	if p != nil && d.model.active(p) {
		a := d.model.account(p.spec.Account)
		before := p.tally
		passes = p.tally.take(n)
		if passes && a != nil && !a.tally.take(n) {
			p.tally, passes = before, false
		}
	}
	require.Equal(rt, passes, d.rig.dataplane.move(key, direction, n))
}

func (d *driver) sleep(rt *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, 15 * time.Second, time.Hour, 25 * time.Hour}).Draw(rt, "time") +
		time.Millisecond) // beyond the moment at which something is due
	synctest.Wait()
}

// restart closes the node, at times lets it be down for a while, and starts another on what it stored.
func (d *driver) restart(rt *rapid.T) {
	require.NoError(rt, d.rig.Close())
	d.model.reach(time.Now(), true)
	if rapid.Bool().Draw(rt, "down") {
		time.Sleep(time.Duration(rapid.IntRange(1, 60).Draw(rt, "hours")) * time.Hour)
	}
	d.rig = newRig(d.t, d.rig.store, d.again)
	require.NoError(rt, d.rig.Start(context.Background()))
	d.model.reach(time.Now(), false)
}

// lose has the dataplane lose a peer whose counters the node has just read, so that it can give them back.
func (d *driver) lose(rt *rapid.T) {
	time.Sleep(d.rig.cfg.CheckpointPeriod + time.Second)
	synctest.Wait()
	d.rig.dataplane.lose(d.drawKey(rt))
}

// compare holds the node to the model.
func (d *driver) compare(rt *rapid.T) {
	synctest.Wait()
	d.model.reach(time.Now(), true)
	d.rig.sound(rt)

	peers := slices.Collect(d.rig.Peers(ListOptions{}))
	require.Len(rt, peers, len(d.model.peers))
	for i, p := range peers {
		held := d.model.peers[i]
		want := held.spec
		require.Equal(rt, want.PublicKey, p.PublicKey, "peers are in the order in which they were added")
		got := PeerSpec{
			PublicKey: p.PublicKey, Account: p.Account, SpeedLimit: p.SpeedLimit, DataCap: p.DataCap,
			ExpiresAt: p.ExpiresAt, GracePeriod: p.GracePeriod, IdleTimeout: p.IdleTimeout,
		}
		require.Equal(rt, []bool{held.suspended, d.model.accountSuspended(held), held.lapsed, d.model.active(held)},
			[]bool{p.Suspended, p.AccountSuspended, p.Expired, p.Active()}, "%s is suspended, by account, in grace, active", p.PublicKey)
		require.True(rt, sameSpec(want, got), "want %+v, got %+v", want, got)
		d.compareUsage(rt, OfPeer(p.PublicKey), d.model.peers[i].tally)
	}
	accounts := slices.Collect(d.rig.Accounts(ListOptions{}))
	require.Len(rt, accounts, len(d.model.accounts))
	members := make(map[string]int)
	for _, p := range d.model.peers {
		members[p.spec.Account]++
	}
	delete(members, "")
	for i, a := range accounts {
		want := d.model.accounts[i].spec
		require.Equal(rt, want.ID, a.ID)
		require.Equal(rt, want.SpeedLimit, a.SpeedLimit)
		require.Equal(rt, d.model.accounts[i].suspended, a.Suspended)
		require.True(rt, want.DataCap.Equal(a.DataCap))
		require.Equal(rt, members[a.ID], a.Peers)
		require.Len(rt, slices.Collect(d.rig.Peers(ListOptions{Account: a.ID})), a.Peers)
		d.compareUsage(rt, OfAccount(a.ID), d.model.accounts[i].tally)
		delete(members, a.ID)
	}
	require.Empty(rt, slices.Collect(maps.Keys(members)))
}

func (d *driver) compareUsage(rt *rapid.T, s Subject, want modelTally) {
	u, err := d.rig.Usage(context.Background(), s)
	require.NoError(rt, err)
	describe := fmt.Sprintf("%s: want %+v, got %+v", s, want, u)
	require.Equal(rt, quota.Bytes(want.used), u.Used, describe)
	require.Equal(rt, uint64(want.total), u.Counters.Download+u.Counters.Upload, describe)
	require.Equal(rt, want.depleted(), u.Depleted, describe)
	if want.limit.Bytes != 0 {
		require.Equal(rt, int(want.limit.Bytes)+want.extra, int(u.Limit), describe)
	}
}
