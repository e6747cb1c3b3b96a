package wgnode

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

func TestRekeyPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "acme"})
		before := r.add(t, PeerSpec{
			Name: "laptop", Account: "acme", Labels: map[string]string{"team": "red"}, PresharedKey: wgtypes.Key{1},
			SpeedLimit: shaping.Limit{Upload: 8_000}, DataCap: capOf(1000),
		}).Peer
		r.add(t, PeerSpec{Account: "acme"})
		former := before.PublicKey
		require.True(t, r.dataplane.move(former, quota.Download, 600))
		applied := r.dataplane.count("Apply")
		r.drain()

		got, err := r.RekeyPeer(t.Context(), former, PeerKeys{})
		require.NoError(t, err)
		require.Equal(t, applied+1, r.dataplane.count("Apply"), "the keys change in one go")
		require.Equal(t, got.PrivateKey.PublicKey(), got.PublicKey)
		require.Equal(t, former, got.FormerKey)
		want := before
		want.PublicKey = got.PublicKey
		require.Equal(t, want, got.Peer)
		events := r.drain()
		require.Equal(t, []EventKind{PeerRekeyed}, kindsOf(events))
		require.Equal(t, got.PublicKey, events[0].Peer)
		require.Equal(t, former, events[0].FormerPeer)
		require.Equal(t, "acme", events[0].Account)
		require.False(t, r.inDataplane(former))
		_, err = r.Peer(former)
		require.ErrorIs(t, err, ErrNotFound)
		state, _ := r.dataplane.peer(got.PublicKey)
		require.Equal(t, wgtypes.Key{1}, state.PresharedKey, "it stays as it is")
		r.sound(t)
		require.True(t, r.dataplane.move(got.PublicKey, quota.Download, 400))
		require.False(t, r.dataplane.move(got.PublicKey, quota.Download, 1), "usage goes on")
		_, err = r.RekeyPeer(t.Context(), former, PeerKeys{})
		require.ErrorIs(t, err, ErrNotFound)

		r = r.again(t)
		r.sound(t)
		require.Equal(t, want, r.get(t, got.PublicKey))
		require.Equal(t, quota.Counters{Download: 1000}, r.used(t, OfPeer(got.PublicKey)).Counters)
		require.NoError(t, r.RemovePeer(t.Context(), got.PublicKey))
		r.sound(t)
	})
}

func TestRekeyToAGivenKey(t *testing.T) {
	r := startRig(t)
	former, next, other := newKey(t), newKey(t), newKey(t)
	r.add(t, PeerSpec{PublicKey: former})
	r.add(t, PeerSpec{PublicKey: other})
	for range 2 { // the second call finds it done
		got, err := r.RekeyPeer(t.Context(), former, PeerKeys{PublicKey: next})
		require.NoError(t, err)
		require.Equal(t, next, got.PublicKey)
		require.Equal(t, former, got.FormerKey)
		require.Zero(t, got.PrivateKey)
	}
	r = r.again(t)
	_, err := r.RekeyPeer(t.Context(), former, PeerKeys{PublicKey: next})
	require.NoError(t, err, "after a restart, too")

	_, err = r.RekeyPeer(t.Context(), former, PeerKeys{PublicKey: next, PresharedKey: &wgtypes.Key{7}})
	require.ErrorIs(t, err, ErrNotFound, "that was not what was asked for then")
	_, err = r.RekeyPeer(t.Context(), next, PeerKeys{PublicKey: other})
	require.ErrorIs(t, err, ErrExists)
	_, err = r.RekeyPeer(t.Context(), next, PeerKeys{PublicKey: r.up.publicKey})
	require.ErrorContains(t, err, "PublicKey: is the node's own key")
	_, err = r.RekeyPeer(t.Context(), next, PeerKeys{PublicKey: wgtypes.Key{1}})
	require.ErrorContains(t, err, "low order")
	_, err = r.RekeyPeer(t.Context(), newKey(t), PeerKeys{})
	require.ErrorIs(t, err, ErrNotFound)

	// Another preshared key alone.
	r.drain()
	for range 2 {
		_, err = r.RekeyPeer(t.Context(), next, PeerKeys{PublicKey: next, PresharedKey: &wgtypes.Key{7}})
		require.NoError(t, err)
	}
	events := r.drain()
	require.Len(t, events, 1)
	require.Equal(t, PeerChanged, events[0].Kind)
	require.Equal(t, "preshared key", events[0].Detail)
	state, _ := r.dataplane.peer(next)
	require.Equal(t, wgtypes.Key{7}, state.PresharedKey)
	_, err = r.RekeyPeer(t.Context(), next, PeerKeys{PublicKey: next, PresharedKey: &wgtypes.Key{}})
	require.NoError(t, err)
	require.False(t, r.get(t, next).HasPresharedKey)
	r.sound(t)

	// The former key is free for another peer; then asking again means that one.
	r.add(t, PeerSpec{PublicKey: former})
	_, err = r.RekeyPeer(t.Context(), former, PeerKeys{PublicKey: next})
	require.ErrorIs(t, err, ErrExists)
	r.again(t).sound(t)
}

func TestRekeyWhileSuspended(t *testing.T) {
	r := startRig(t)
	former := r.add(t, PeerSpec{}).PublicKey
	require.NoError(t, r.Suspend(t.Context(), OfPeer(former)))
	applied := r.dataplane.count("Apply")
	got, err := r.RekeyPeer(t.Context(), former, PeerKeys{})
	require.NoError(t, err)
	require.Equal(t, applied, r.dataplane.count("Apply"))
	require.True(t, got.Suspended)
	r = r.again(t)
	r.sound(t)
	require.NoError(t, r.Resume(t.Context(), OfPeer(got.PublicKey)))
	require.True(t, r.inDataplane(got.PublicKey))
	require.False(t, r.inDataplane(former))
	r.sound(t)
}

func TestRekeyAccount(t *testing.T) {
	r := startRig(t)
	r.account(t, AccountSpec{ID: "acme"})
	var former []wgtypes.Key
	for range 3 {
		former = append(former, r.add(t, PeerSpec{Account: "acme"}).PublicKey)
	}
	other := r.add(t, PeerSpec{}).PublicKey
	require.NoError(t, r.Suspend(t.Context(), OfPeer(former[1])))
	applied := r.dataplane.count("Apply")
	got, err := r.RekeyAccount(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, applied+1, r.dataplane.count("Apply"))
	require.Len(t, got, 3)
	for i, p := range got {
		require.Equal(t, former[i], p.FormerKey)
		require.Equal(t, p.PrivateKey.PublicKey(), p.PublicKey)
		require.Equal(t, i != 1, r.inDataplane(p.PublicKey))
		require.False(t, r.inDataplane(former[i]))
	}
	require.True(t, r.inDataplane(other))
	r.sound(t)
	r.again(t).sound(t)

	_, err = r.RekeyAccount(t.Context(), "none")
	require.ErrorIs(t, err, ErrClosed)
	next := startRig(t)
	_, err = next.RekeyAccount(t.Context(), "none")
	require.EqualError(t, err, `wgnode: rekey peers of account "none": not found`)
	next.account(t, AccountSpec{ID: "empty"})
	got, err = next.RekeyAccount(t.Context(), "empty")
	require.NoError(t, err)
	require.Empty(t, got)
}
