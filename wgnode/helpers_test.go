package wgnode

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errInjected = errors.New("injected fault")

// rig is a node on fakes.
type rig struct {
	*Node
	dataplane *fakeDataplane
	store     *faultyStore
	events    *Subscription
}

// newRig makes a node that is not started yet.
func newRig(t testing.TB, store *faultyStore, adjust ...func(*Config)) *rig {
	t.Helper()
	r := &rig{dataplane: &fakeDataplane{}, store: store}
	cfg := Config{Dataplane: r.dataplane, Store: store, Endpoint: "vpn.example.com:51820"}
	for _, f := range adjust {
		f(&cfg)
	}
	var err error
	r.Node, err = New(cfg)
	require.NoError(t, err)
	r.events = r.Subscribe()
	t.Cleanup(func() { r.Close() })
	return r
}

// startRig makes a node that runs on an empty store.
func startRig(t testing.TB, adjust ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, newFaultyStore(), adjust...)
	require.NoError(t, r.Start(t.Context()))
	return r
}

// again closes the node and starts another on what it stored.
func (r *rig) again(t testing.TB, adjust ...func(*Config)) *rig {
	t.Helper()
	require.NoError(t, r.Close())
	next := newRig(t, r.store, adjust...)
	require.NoError(t, next.Start(t.Context()))
	return next
}

// drain returns the events that are there.
func (r *rig) drain() []Event {
	var events []Event
	for {
		e, wait, closed := r.events.hub.next(r.events.after)
		if wait != nil || closed {
			return events
		}
		r.events.after = e.Sequence
		events = append(events, e)
	}
}

// kinds returns the kinds of the events that are there.
func (r *rig) kinds() []EventKind {
	var kinds []EventKind
	for _, e := range r.drain() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// newKey makes a peer's public key.
func newKey(t testing.TB) wgtypes.Key {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return private.PublicKey()
}

// add adds a peer that must not be refused.
func (r *rig) add(t testing.TB, spec PeerSpec) AddedPeer {
	t.Helper()
	if spec.PublicKey == (wgtypes.Key{}) {
		spec.PublicKey = newKey(t)
	}
	p, err := r.AddPeer(t.Context(), spec)
	require.NoError(t, err)
	return p
}

// used reads a subject's usage, which must be possible.
func (r *rig) used(t testing.TB, s Subject) Usage {
	t.Helper()
	u, err := r.Usage(t.Context(), s)
	require.NoError(t, err)
	return u
}

// peer is the peer with this key, nil if there is none.
func (inv *inventory) peer(key wgtypes.Key) *peer {
	p, _ := inv.peers.Get(key)
	return p
}

// sound checks what holds of a node at any time when nothing is under way: node, dataplane, store and address pool agree.
func (r *rig) sound(t require.TestingT) {
	inv := &r.inv
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.dataplane.mu.Lock()
	defer r.dataplane.mu.Unlock()

	require.Len(t, r.dataplane.accounts, len(inv.accounts), "accounts in the dataplane")
	require.Len(t, inv.peerOrder.entries, inv.peers.Len())
	for p := range inv.peers.All() {
		require.Same(t, p, inv.peer(p.key))
	}
	require.Len(t, inv.accountOrder.entries, len(inv.accounts))
	leased, members, active := 0, 0, 0
	for p := range inv.peers.All() {
		key := p.key
		require.Equal(t, inv.suspended(p.account), p.accountSuspended, "peer %s", key)
		if p.active() {
			active++
			have, ok := r.dataplane.peers[key]
			require.True(t, ok, "peer %s is not in the dataplane", key)
			require.True(t, have.Equal(p.state()), "peer %s differs in the dataplane: have %+v, want %+v", key, have.PeerState, p.state())
		}
		for _, addr := range p.addrs {
			require.True(t, r.up.pool.Leased(addr))
			leased++
		}
	}
	require.Len(t, r.dataplane.peers, active, "peers in the dataplane")
	for id, a := range inv.accounts {
		have, ok := r.dataplane.accounts[id]
		require.True(t, ok, "account %q is not in the dataplane", id)
		want := a.state()
		have.AccountState.Counters = want.Counters
		require.Equal(t, want, have.AccountState)
		members += a.peers.len()
		for _, p := range a.peers.entries {
			require.Equal(t, id, p.account)
		}
	}
	for _, p := range inv.peerOrder.entries {
		if p.account != "" {
			members--
		}
	}
	require.Zero(t, members, "accounts disagree with peers on who belongs to whom")
	for _, s := range r.up.pool.Stats() {
		leased -= int(s.Leased)
	}
	require.Zero(t, leased, "leases without a peer")
	if len(r.owed) == 0 {
		r.soundStore(t)
	}
}

// soundStore checks that the store has a definition and usage for each entity, and nothing else.
func (r *rig) soundStore(t require.TestingT) {
	got := make(map[RecordKind]int)
	for record, err := range r.store.Load(context.Background()) {
		require.NoError(t, err)
		got[record.Kind]++
		switch record.Kind {
		case RecordPeer, RecordPeerUsage:
			key, err := parseKey(record.Key)
			require.NoError(t, err)
			require.NotNil(t, r.inv.peer(key), "%s of %s in the store", record.Kind, key)
		case RecordQuarantine:
			addr, until, err := decodeResting(record)
			require.NoError(t, err)
			require.Equal(t, r.resting[addr], until, "quarantine of %s", addr)
		case RecordAccount, RecordAccountUsage:
			require.Contains(t, r.inv.accounts, record.Key, "%s in the store", record.Kind)
		}
	}
	require.Equal(t, len(r.resting), got[RecordQuarantine], "quarantine records")
	for _, kind := range []RecordKind{RecordPeer, RecordPeerUsage} {
		require.Equal(t, r.inv.peers.Len(), got[kind], "%s records", kind)
	}
	for _, kind := range []RecordKind{RecordAccount, RecordAccountUsage} {
		require.Equal(t, len(r.inv.accounts), got[kind], "%s records", kind)
	}
}

// capOf is a cap without a period.
func capOf(n quota.Bytes) quota.Cap { return quota.Cap{Bytes: n} }
