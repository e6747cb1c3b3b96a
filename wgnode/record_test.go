package wgnode

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// versions are the versions of the records that a node stored, by kind.
func (r *rig) versions(t *testing.T) map[RecordKind]int {
	t.Helper()
	versions := make(map[RecordKind]int)
	for _, record := range r.store.snapshot() {
		var v version
		require.NoError(t, json.Unmarshal(record.Value, &v))
		versions[record.Kind] = max(versions[record.Kind], v.V)
	}
	return versions
}

// TestRecordsAreAsOldAsTheyCanBe holds that only what makes use of something new is closed to an older program.
func TestRecordsAreAsOldAsTheyCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.account(t, AccountSpec{ID: "acme", DataCap: capOf(5)})
		key := r.add(t, PeerSpec{Account: "acme", ExpiresAt: time.Now().Add(9 * time.Hour), PresharedKey: wgtypes.Key{1}}).PublicKey
		all := func(v int) map[RecordKind]int {
			return map[RecordKind]int{RecordNode: 1, RecordAccount: v, RecordPeer: v, RecordAccountUsage: 1, RecordPeerUsage: 1}
		}
		require.Equal(t, all(1), r.versions(t))
		require.NoError(t, r.Suspend(t.Context(), OfAccount("acme")))
		require.NoError(t, r.Suspend(t.Context(), OfPeer(key)))
		require.Equal(t, all(2), r.versions(t))
		require.NoError(t, r.Resume(t.Context(), OfAccount("acme")))
		require.NoError(t, r.Resume(t.Context(), OfPeer(key)))
		require.Equal(t, all(1), r.versions(t))

		require.NoError(t, r.SetIdleTimeout(t.Context(), OfPeer(key), time.Hour))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.True(t, r.dataplane.shake(key))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		versions := r.versions(t)
		require.Equal(t, 2, versions[RecordPeerUsage])
		require.Equal(t, 2, versions[RecordNode], "how long the node has run")

		rekeyed, err := r.RekeyPeer(t.Context(), key, PeerKeys{})
		require.NoError(t, err)
		require.Equal(t, 2, r.versions(t)[RecordPeerUsage])
		require.True(t, r.dataplane.move(rekeyed.PublicKey, quota.Upload, 1))
		_, err = r.RekeyPeer(t.Context(), rekeyed.PublicKey, PeerKeys{})
		require.NoError(t, err)
		require.Equal(t, 3, r.versions(t)[RecordPeerUsage], "what was used under a former key")
	})
}

// TestRecordsOfVersionOne loads what the program wrote that knew version 1 alone.
func TestRecordsOfVersionOne(t *testing.T) {
	const key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="
	const ledger = `{"version":1,"cap":{},"now":"2026-11-21T07:00:00Z","seen":{"download":0,"upload":7},` +
		`"used":{"download":0,"upload":7},"start":"2026-11-21T07:00:00Z"}`
	store := newFaultyStore()
	var batch []Mutation
	for _, record := range []Record{
		{RecordNode, nodeKeyRecord, []byte(`{"v":1,"private_key":"gBDlLoJ7rTHH2Mnf4fEvVC3xGAmwBo4CAL0rQFY1eEI="}`)},
		{RecordNode, sequenceRecord, []byte(`{"v":1,"last":2}`)},
		{RecordAccount, "acme", []byte(`{"v":1,"sequence":1,"speed_limit":{"download":"unlimited","upload":"unlimited"},` +
			`"data_cap":{},"created_at":"2026-11-21T07:00:00Z"}`)},
		{RecordAccountUsage, "acme", []byte(`{"v":1,"counters":{"download":0,"upload":7},"ledger":` + ledger + `}`)},
		{RecordPeer, key, []byte(`{"v":1,"sequence":2,"addrs":["10.0.0.2","fd77:6179:6c75:6d65::2"],"account":"acme",` +
			`"speed_limit":{"download":"unlimited","upload":"unlimited"},"data_cap":{},"created_at":"2026-11-21T07:00:00Z"}`)},
		{RecordPeerUsage, key, []byte(`{"v":1,"counters":{"download":0,"upload":7},"ledger":` + ledger + `}`)},
	} {
		batch = append(batch, put(record))
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	r := newRig(t, store)
	err := r.Start(t.Context())
	require.NoError(t, err)
	p := r.get(t, r.inv.peerOrder.entries[0].key)
	require.Equal(t, key, p.PublicKey.String())
	require.True(t, p.Active())
	require.Zero(t, p.GracePeriod+p.IdleTimeout)
	require.Equal(t, uint64(7), r.used(t, OfPeer(p.PublicKey)).Counters.Upload)
	r.sound(t)
}

// TestLifecycleComesBack compares a node that uses everything with the one before it, field by field.
func TestLifecycleComesBack(t *testing.T) {
	r := startRig(t)
	r.account(t, AccountSpec{ID: "acme"})
	p := r.add(t, PeerSpec{
		Account: "acme", ExpiresAt: time.Now().Add(time.Hour), GracePeriod: 48 * time.Hour, IdleTimeout: 720 * time.Hour,
	})
	rekeyed, err := r.RekeyPeer(t.Context(), p.PublicKey, PeerKeys{})
	require.NoError(t, err)
	require.NoError(t, r.Suspend(t.Context(), OfPeer(rekeyed.PublicKey)))
	require.NoError(t, r.Suspend(t.Context(), OfAccount("acme")))
	before, own := imageOf(t, r), keyOf(r.inv.peer(rekeyed.PublicKey).formerKey)
	require.Equal(t, p.PublicKey, own)
	next := r.again(t)
	require.Equal(t, before, imageOf(t, next))
	require.Equal(t, own, keyOf(next.inv.peer(rekeyed.PublicKey).formerKey))
	require.Equal(t, 720*time.Hour, before.peers[0].IdleTimeout)
	require.True(t, before.accounts[0].Suspended)
}
