package conformance

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// testIdempotence: a change that is made twice is made once, and a session, its queue and its counters outlive it.
func testIdempotence(t *testing.T, h Harness) {
	d := newDirect(newBareWorld(t, h))
	limit := both(mbit(50))
	elsewhere := isolation.Match{Prefixes: []netip.Prefix{netip.PrefixFrom(other4, 32)}}
	policy := isolation.Policy{Deny: []isolation.Rule{{To: elsewhere}}}
	account := wgnode.AccountState{ID: "account", SpeedLimit: both(mbit(20)), Budget: quota.Budget{Limited: true, Limit: 1 << 40}}
	p, private := d.peer(2)
	p.Account, p.SpeedLimit = account.ID, both(mbit(10))
	stray, _ := d.peer(3)
	d.start(wgnode.State{Peers: []wgnode.PeerState{stray}})
	change := wgnode.Change{
		SpeedLimit: &limit, Policy: &policy, SetAccounts: []wgnode.AccountState{account},
		RemovePeers: []wgtypes.Key{stray.PublicKey}, SetPeers: []wgnode.PeerState{p}, RemoveAccounts: []string{"never there"},
	}
	d.apply(change)
	c := d.connect(p, private)
	f := d.begin(c, tcpDown(internet4))
	want := wgnode.State{
		SpeedLimit: limit, Policy: policy, Accounts: []wgnode.AccountState{account}, Peers: []wgnode.PeerState{p},
	}
	d.eventually(func() bool { return d.counters(c).Download > 100_000 }, "the flow does not begin")
	for range 3 {
		before := d.counters(c)
		d.apply(change)
		d.inSync(want)
		d.apply(wgnode.Change{})
		after := d.counters(c)
		require.GreaterOrEqual(t, after.Download, before.Download, "counters went back")
		require.GreaterOrEqual(t, d.accountStats(account.ID).Counters.Download, after.Download)
		d.eventually(func() bool { return d.counters(c).Download > after.Download+100_000 }, "the flow does not go on")
	}
	// Counters only seed what is not held yet.
	p.Counters, account.Counters = quota.Counters{Download: 1 << 50}, quota.Counters{Upload: 1 << 50}
	d.apply(wgnode.Change{SetAccounts: []wgnode.AccountState{account}, SetPeers: []wgnode.PeerState{p}})
	want.Accounts[0], want.Peers[0] = account, p
	d.inSync(want)
	require.Less(t, d.counters(c).Download, uint64(1<<40))
	require.Less(t, d.accountStats(account.ID).Counters.Upload, uint64(1<<40))
	require.Nil(t, f.broken.Load(), "the connection broke")
	require.Equal(t, keys(p), d.present())
}

// testRepair: Sync brings a dataplane to what it should be, says what it mended, and then has nothing more to say.
func testRepair(t *testing.T, h Harness) {
	d := newDirect(newBareWorld(t, h))
	kept, private := d.peer(2)
	lost, lostPrivate := d.peer(3)
	stray, _ := d.peer(4)
	account := wgnode.AccountState{ID: "account", SpeedLimit: both(mbit(20))}
	d.start(wgnode.State{Peers: []wgnode.PeerState{kept, stray}})
	c := d.connect(kept, private)
	f := d.begin(c, tcpDown(internet6))

	changed := kept
	changed.Account, changed.SpeedLimit = account.ID, both(mbit(5))
	want := wgnode.State{
		SpeedLimit: both(mbit(40)), Accounts: []wgnode.AccountState{account}, Peers: []wgnode.PeerState{changed, lost},
	}
	repairs, err := d.dp.Sync(d.ctx, want)
	require.NoError(t, err)
	subjects := repaired(repairs)
	for _, s := range []string{"", account.ID, changed.PublicKey.String(), lost.PublicKey.String(), stray.PublicKey.String()} {
		require.Contains(t, subjects, s)
	}
	for _, r := range repairs {
		require.NotEmpty(t, r.What)
	}
	require.Len(t, repairs, 5)
	d.inSync(want)
	require.Equal(t, keys(changed, lost), d.present())
	d.exits(d.connect(lost, lostPrivate))
	d.exits(c)
	require.Nil(t, f.broken.Load(), "the connection broke")

	rig, ok := d.rig.(DisturbableRig)
	if !ok {
		t.Log("Sync after somebody else's change is not tested: in this rig nobody else can make one")
		return
	}
	require.NoError(t, rig.Disturb(lost.PublicKey))
	d.eventually(d.told(wgnode.DataplaneDisturbed), "the node is not told that somebody has changed the dataplane")
	repairs, err = d.dp.Sync(d.ctx, want)
	require.NoError(t, err)
	require.Equal(t, []string{lost.PublicKey.String()}, repaired(repairs))
	d.inSync(want)
	require.Equal(t, keys(changed, lost), d.present())
}

// told reports whether the dataplane has said something of a kind.
func (d *direct) told(kind wgnode.DataplaneEventKind) func() bool {
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return slices.ContainsFunc(d.events, func(e wgnode.DataplaneEvent) bool { return e.Kind == kind })
	}
}

// testAtomicity: a change that cannot be made leaves nothing of itself, and disturbs nobody.
func testAtomicity(t *testing.T, h Harness) {
	d := newDirect(newBareWorld(t, h))
	old, private := d.peer(2)
	account := wgnode.AccountState{ID: "account"}
	old.Account = account.ID
	want := wgnode.State{Accounts: []wgnode.AccountState{account}, Peers: []wgnode.PeerState{old}}
	d.start(want)
	c := d.connect(old, private)
	f := d.begin(c, tcpDown(internet4))
	fresh, freshPrivate := d.peer(3)
	other := d.connect(fresh, freshPrivate)

	limit, denyAll := both(mbit(0.1)), isolation.Policy{Deny: []isolation.Rule{{}}}
	nobody, taken, renamed := fresh, fresh, old
	nobody.Account = "nobody"
	taken.Addrs = old.Addrs
	renamed.Account = "nobody"
	badPolicy := isolation.Policy{Deny: []isolation.Rule{{Ports: []isolation.PortRange{{First: 2, Last: 1}}}}}
	for name, bad := range map[string]wgnode.Change{
		"unknown account":      {SetPeers: []wgnode.PeerState{fresh, nobody}},
		"address of another":   {SetPeers: []wgnode.PeerState{taken}},
		"peer twice":           {SetPeers: []wgnode.PeerState{fresh, fresh}},
		"account in use":       {SetPeers: []wgnode.PeerState{fresh}, RemoveAccounts: []string{account.ID}},
		"moved to nowhere":     {RemovePeers: []wgtypes.Key{old.PublicKey}, SetPeers: []wgnode.PeerState{renamed}},
		"policy out of order":  {Policy: &badPolicy, SetPeers: []wgnode.PeerState{fresh}},
		"good parts beside it": {SpeedLimit: &limit, Policy: &denyAll, SetPeers: []wgnode.PeerState{fresh, nobody}},
	} {
		require.Error(t, d.dp.Apply(d.ctx, bad), name)
		require.Equal(t, keys(old), d.present(), name)
		d.inSync(want)
	}
	err := d.dp.Apply(canceled(), wgnode.Change{SetPeers: []wgnode.PeerState{fresh}})
	require.Error(t, err, "a change is made though nobody waits for it any more")
	require.ErrorIs(t, err, canceled().Err())
	require.Equal(t, keys(old), d.present())
	d.inSync(want)

	before := d.counters(c).Download
	d.eventually(func() bool { return d.counters(c).Download > before+100_000 }, "the flow does not go on")
	require.Nil(t, f.broken.Load(), "the connection broke")
	d.cutOff(other)
	d.apply(wgnode.Change{SetPeers: []wgnode.PeerState{fresh}})
	other.disconnect()
	d.exits(d.connect(fresh, freshPrivate))
}
