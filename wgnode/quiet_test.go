package wgnode

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// atRest reports whether a peer's connection is.
func (r *rig) atRest(key wgtypes.Key) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.inv.peer(key).atRest()
}

// TestConnectionAtRest has peers connect, leave, and come back: what is told of one at rest is what was known of it, and what every
// reading shows of all such.
func TestConnectionAtRest(t *testing.T) {
	for name, comeBack := range map[string]func(t *testing.T, r *rig, key wgtypes.Key){
		"with a handshake": func(t *testing.T, r *rig, key wgtypes.Key) { require.True(t, r.dataplane.shake(key)) },
		"with a byte":      func(t *testing.T, r *rig, key wgtypes.Key) { require.True(t, r.dataplane.move(key, quota.Download, 1)) },
		"with a message": func(_ *testing.T, r *rig, key wgtypes.Key) {
			r.dataplane.mu.Lock()
			defer r.dataplane.mu.Unlock()
			r.dataplane.outer = map[wgtypes.Key]quota.Counters{key: {Upload: initiationSize}}
		},
		"with another endpoint": func(_ *testing.T, r *rig, key wgtypes.Key) {
			r.dataplane.mu.Lock()
			defer r.dataplane.mu.Unlock()
			r.dataplane.endpoints[key] = netip.MustParseAddrPort("192.0.2.2:2")
		},
		"to be suspended": func(t *testing.T, r *rig, key wgtypes.Key) { require.NoError(t, r.Suspend(t.Context(), OfPeer(key))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startRig(t)
				key, other := r.add(t, PeerSpec{}).PublicKey, r.add(t, PeerSpec{}).PublicKey
				pass(lookPeriod)
				r.dataplane.endpoints = map[wgtypes.Key]netip.AddrPort{key: netip.MustParseAddrPort("192.0.2.1:1")}
				require.True(t, r.dataplane.shake(key))
				require.True(t, r.dataplane.move(key, quota.Upload, 1000))
				pass(sessionLife)
				require.False(t, r.atRest(key), "a handshake may have been due until a moment ago")
				pass(4 * lookPeriod)
				require.True(t, r.atRest(key))

				before := r.quality(t, key)
				require.Equal(t, ConnectionStale, before.State)
				require.Equal(t, "192.0.2.1:1", before.Endpoint.String())
				require.Equal(t, quota.Counters{Upload: 1000}, before.Counters)
				require.Zero(t, before.Throughput.UploadBPS)
				require.NotZero(t, before.Throughput.Window, "it is known that nothing moves")
				require.Equal(t, 1, r.Totals().Connections[ConnectionStale])
				pass(lookPeriod)
				after := r.quality(t, key)
				require.Equal(t, before.ReadAt.Add(lookPeriod), after.ReadAt)
				require.Equal(t, r.quality(t, other).ReadAt, after.ReadAt)
				after.ReadAt, after.Throughput = before.ReadAt, before.Throughput
				require.Equal(t, before, after)

				comeBack(t, r, key)
				pass(lookPeriod)
				q := r.quality(t, key)
				require.Equal(t, name == "with another endpoint", r.atRest(key), "nothing else happens to one that moved")
				require.Equal(t, name == "with another endpoint", q.EndpointChanges == 1)
				require.Equal(t, before.WatchedSince, q.WatchedSince)
				require.False(t, q.LastHandshake.IsZero())
				require.Equal(t, map[string]ConnectionState{
					"with a handshake": ConnectionIdle, "with a byte": ConnectionStale, "with a message": ConnectionUnreachable,
					"with another endpoint": ConnectionStale, "to be suspended": ConnectionInactive,
				}[name], q.State)
				require.Equal(t, 1, r.Totals().Connections[q.State])
			})
		})
	}
}

// TestRestKeepsHealth has a peer leave as the only one: since when nobody has a session is known of it still.
func TestRestKeepsHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		require.True(t, r.dataplane.shake(key))
		pass(sessionLife + 10*time.Minute)
		require.True(t, r.atRest(key))
		r.dataplane.mu.Lock()
		shaken := r.dataplane.handshakes[key]
		r.dataplane.mu.Unlock()
		var seen sighting
		r.mu.RLock()
		seen.rests(r.inv.peer(key))
		r.mu.RUnlock()
		require.Equal(t, instantOf(shaken), seen.newest)
	})
}
