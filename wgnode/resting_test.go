package wgnode

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

// TestQuarantineSurvivesRestarts has an address rest for as long as one process would have it rest.
func TestQuarantineSurvivesRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		leaving, expiring := r.add(t, PeerSpec{}), r.add(t, PeerSpec{ExpiresAt: time.Now().Add(3 * time.Minute)})
		r.add(t, PeerSpec{})
		begun := time.Now()
		require.NoError(t, r.RemovePeer(t.Context(), leaving.PublicKey))
		r.sound(t)
		lease := func(r *rig, addr netip.Addr) error {
			_, err := r.AddPeer(t.Context(), PeerSpec{Addrs: []netip.Addr{addr}})
			return err
		}

		require.NoError(t, r.Close())
		time.Sleep(4 * time.Minute)
		r = r.again(t)
		r.sound(t)
		for _, addr := range append(leaving.Addrs, expiring.Addrs...) {
			require.ErrorIs(t, lease(r, addr), ipam.ErrQuarantined)
		}
		r = r.again(t)
		time.Sleep(time.Until(begun.Add(ipam.DefaultQuarantine)) + ipam.DefaultQuarantine/10)
		for _, addr := range leaving.Addrs {
			require.NoError(t, lease(r, addr), "it rests since its peer was removed, not since the start")
		}
		r.sound(t)
		for _, addr := range expiring.Addrs {
			require.ErrorIs(t, lease(r, addr), ipam.ErrQuarantined, "its peer expired while no node ran: it rests since the start")
		}
		time.Sleep(ipam.DefaultQuarantine + DefaultCheckpointPeriod)
		synctest.Wait()
		require.Empty(t, r.resting, "what is over is forgotten")
		r.sound(t)
	})
}

// TestQuarantineOfAnotherPool starts with a pool that has none of the addresses that rest.
func TestQuarantineOfAnotherPool(t *testing.T) {
	r := startRig(t)
	require.NoError(t, r.RemovePeer(t.Context(), r.add(t, PeerSpec{}).PublicKey))
	require.Len(t, r.resting, 2)
	next := r.again(t, func(cfg *Config) { cfg.Pool.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")} })
	require.Empty(t, next.resting)
	next.sound(t)
}

// TestDamagedQuarantine refuses what no node wrote.
func TestDamagedQuarantine(t *testing.T) {
	for _, record := range []Record{
		{RecordQuarantine, "10.0.0.5", []byte(`{"v":1}`)},
		{RecordQuarantine, "10.0.0.05", []byte(`{"v":1,"until":"2026-01-01T00:00:00Z"}`)},
		{RecordQuarantine, "10.0.0.5", []byte(`{"v":99,"until":"2026-01-01T00:00:00Z"}`)},
	} {
		store := newFaultyStore()
		require.NoError(t, store.Commit(t.Context(), []Mutation{put(record)}))
		require.ErrorIs(t, newRig(t, store).Start(t.Context()), ErrCorrupt)
	}
}
