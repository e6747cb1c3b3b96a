package wgnode

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
)

func TestMovePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "from", DataCap: capOf(1000)})
		r.account(t, AccountSpec{ID: "to", DataCap: capOf(500)})
		key := r.add(t, PeerSpec{Account: "from", DataCap: capOf(900)}).PublicKey
		r.add(t, PeerSpec{Account: "to"})
		require.True(t, r.dataplane.move(key, quota.Download, 400))
		r.drain()
		for range 2 {
			require.NoError(t, r.MovePeer(t.Context(), key, "to"))
		}
		events := r.drain()
		require.Equal(t, []EventKind{PeerMoved}, kindsOf(events))
		require.Equal(t, Event{Peer: key, Account: "to", FormerAccount: "from"},
			Event{Peer: events[0].Peer, Account: events[0].Account, FormerAccount: events[0].FormerAccount})
		require.Equal(t, quota.Bytes(400), r.used(t, OfAccount("from")).Used)
		require.Zero(t, r.used(t, OfAccount("to")).Used, "what was used stays with the former account")
		members := slices.Collect(r.Peers(ListOptions{Account: "to"}))
		require.Len(t, members, 2)
		require.Equal(t, key, members[0].PublicKey, "a list is in the order in which peers were added")
		r.sound(t)
		require.True(t, r.dataplane.move(key, quota.Upload, 500))
		require.False(t, r.dataplane.move(key, quota.Upload, 1), "the new account's cap, and its own")
		synctest.Wait()
		require.Equal(t, quota.Bytes(900), r.used(t, OfPeer(key)).Used)
		require.Equal(t, quota.Bytes(500), r.used(t, OfAccount("to")).Used)

		r = r.again(t)
		r.sound(t)
		require.Equal(t, "to", r.get(t, key).Account)
		require.NoError(t, r.RemoveAccount(t.Context(), "from"))
		require.NoError(t, r.MovePeer(t.Context(), key, ""))
		require.Empty(t, r.get(t, key).Account)
		r.sound(t)

		err := r.MovePeer(t.Context(), key, "from")
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, `Account: "from" does not exist`)
		require.ErrorIs(t, r.MovePeer(t.Context(), newKey(t), "to"), ErrNotFound)
	})
}

func TestMovePeers(t *testing.T) {
	r := startRig(t)
	r.account(t, AccountSpec{ID: "a"})
	r.account(t, AccountSpec{ID: "b"})
	var keys []wgtypes.Key
	for i := range 5 {
		keys = append(keys, r.add(t, PeerSpec{Account: []string{"a", "b"}[i%2]}).PublicKey)
	}
	applied := r.dataplane.count("Apply")
	for range 2 {
		require.NoError(t, r.MovePeers(t.Context(), "a", "b"))
	}
	require.Equal(t, applied+1, r.dataplane.count("Apply"))
	var got []wgtypes.Key
	for p := range r.Peers(ListOptions{Account: "b"}) {
		got = append(got, p.PublicKey)
	}
	require.Equal(t, keys, got)
	r.sound(t)
	r = r.again(t)
	r.sound(t)
	require.NoError(t, r.MovePeers(t.Context(), "b", "b"))
	require.NoError(t, r.MovePeers(t.Context(), "b", ""))
	require.Empty(t, slices.Collect(r.Peers(ListOptions{Account: "b"})))
	require.ErrorIs(t, r.MovePeers(t.Context(), "c", "b"), ErrNotFound)
	require.ErrorIs(t, r.MovePeers(t.Context(), "", "b"), ErrNotFound)
	require.ErrorIs(t, r.MovePeers(t.Context(), "b", "c"), ErrInvalid)
	r.sound(t)
}

func TestRemoveAccountAndPeers(t *testing.T) {
	r := startRig(t)
	r.account(t, AccountSpec{ID: "acme"})
	a, b := r.add(t, PeerSpec{Account: "acme"}), r.add(t, PeerSpec{Account: "acme"})
	stays := r.add(t, PeerSpec{}).PublicKey
	r.dataplane.move(a.PublicKey, quota.Download, 10)
	require.NoError(t, r.Suspend(t.Context(), OfPeer(b.PublicKey)))
	applied := r.dataplane.count("Apply")
	r.drain()
	require.NoError(t, r.RemoveAccountAndPeers(t.Context(), "acme"))
	require.Equal(t, applied+1, r.dataplane.count("Apply"))
	events := r.drain()
	require.Equal(t, []EventKind{PeerRemoved, PeerRemoved, AccountRemoved}, kindsOf(events))
	require.Equal(t, quota.Counters{Download: 10}, events[0].Counters)
	require.Equal(t, RemovalRequested, events[1].Reason)
	require.Equal(t, quota.Counters{Download: 10}, events[2].Counters)
	require.ErrorIs(t, r.RemoveAccountAndPeers(t.Context(), "acme"), ErrNotFound)
	_, err := r.AddPeer(t.Context(), PeerSpec{Addrs: a.Addrs})
	require.ErrorIs(t, err, ipam.ErrQuarantined)
	require.True(t, r.get(t, stays).Active())
	r.sound(t)
	next := r.again(t)
	next.sound(t)
	_, err = next.AddPeer(t.Context(), PeerSpec{Addrs: a.Addrs})
	require.ErrorIs(t, err, ipam.ErrQuarantined)
}
