package wgnode

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// quality tells of a peer that is there.
func (r *rig) quality(t testing.TB, key wgtypes.Key) PeerQuality {
	t.Helper()
	q, err := r.PeerQuality(key)
	require.NoError(t, err)
	return q
}

func TestConnectionStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFaultyStore())
		_, err := r.PeerQuality(newKey(t))
		require.ErrorIs(t, err, ErrNotStarted)
		_, err = r.PeerQualities()
		require.ErrorIs(t, err, ErrNotStarted)
		require.NoError(t, r.Start(t.Context()))
		synctest.Wait()
		_, err = r.PeerQuality(newKey(t))
		require.ErrorIs(t, err, ErrNotFound)
		key := r.add(t, PeerSpec{}).PublicKey
		require.Equal(t, PeerQuality{PublicKey: key}, r.quality(t, key))
		require.Equal(t, "unknown", r.quality(t, key).State.String())
		pass(lookPeriod)
		require.Equal(t, ConnectionNever, r.quality(t, key).State)
		_, known := r.quality(t, key).HandshakeAge(time.Now())
		require.False(t, known)
		require.True(t, r.dataplane.shake(key))
		pass(lookPeriod)
		require.Equal(t, ConnectionIdle, r.quality(t, key).State)
		r.dataplane.move(key, quota.Download, 1)
		pass(activeWindow)
		q := r.quality(t, key)
		require.Equal(t, ConnectionOnline, q.State)
		age, known := q.HandshakeAge(time.Now())
		require.True(t, known)
		require.Equal(t, lookPeriod+activeWindow, age)
		pass(lookPeriod)
		require.Equal(t, ConnectionIdle, r.quality(t, key).State)
		pass(sessionLife)
		require.Equal(t, ConnectionStale, r.quality(t, key).State)

		require.NoError(t, r.Suspend(t.Context(), OfPeer(key)))
		q = r.quality(t, key)
		require.Equal(t, ConnectionInactive, q.State)
		require.False(t, q.LastHandshake.IsZero(), "it is still known")
		require.NoError(t, r.Resume(t.Context(), OfPeer(key)))
		pass(lookPeriod)
		require.Equal(t, ConnectionStale, r.quality(t, key).State)
		rekeyed, err := r.RekeyPeer(t.Context(), key, PeerKeys{})
		require.NoError(t, err)
		require.Equal(t, PeerQuality{PublicKey: rekeyed.PublicKey}, r.quality(t, rekeyed.PublicKey), "another key is another connection")
		pass(lookPeriod)
		require.Equal(t, ConnectionNever, r.quality(t, rekeyed.PublicKey).State)

		r.dataplane.setHook(failing("Stats"))
		pass(2 * time.Minute)
		require.Equal(t, ConnectionUnknown, r.quality(t, rekeyed.PublicKey).State, "nothing was read of late")
		r.dataplane.setHook(nil)
		list, err := r.PeerQualities()
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

func TestThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		pass(3 * time.Second)
		require.Zero(t, r.quality(t, key).Throughput, "not known yet")
		for range 60 {
			r.dataplane.move(key, quota.Download, 125_000)
			r.dataplane.move(key, quota.Upload, 12_500)
			pass(time.Second)
		}
		got := r.quality(t, key).Throughput
		require.GreaterOrEqual(t, got.Window, throughputWindow)
		require.Less(t, got.Window, 2*throughputWindow)
		require.Equal(t, uint64(1_000_000), got.DownloadBPS)
		require.Equal(t, uint64(100_000), got.UploadBPS)
		pass(2 * throughputWindow)
		got = r.quality(t, key).Throughput
		require.Zero(t, got.DownloadBPS)
		require.NotZero(t, got.Window, "it is known that nothing moves")

		// Somebody puts the counters back.
		r.dataplane.mu.Lock()
		p := r.dataplane.peers[key]
		p.meter = quota.NewMeter(quota.Counters{Download: 1}, p.Budget, nil)
		r.dataplane.mu.Unlock()
		for range 5 {
			pass(time.Second)
			require.Zero(t, r.quality(t, key).Throughput, "not known any more")
		}
		pass(time.Second)
		got = r.quality(t, key).Throughput
		require.NotZero(t, got.Window)
		require.Zero(t, got.DownloadBPS)
	})
}

func TestEndpointChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		r.dataplane.endpoints = make(map[wgtypes.Key]netip.AddrPort)
		at := func(s string) PeerQuality {
			r.dataplane.mu.Lock()
			r.dataplane.endpoints[key] = netip.MustParseAddrPort(s)
			r.dataplane.mu.Unlock()
			pass(lookPeriod)
			q := r.quality(t, key)
			require.Equal(t, s, q.Endpoint.String())
			return q
		}
		q := at("192.0.2.1:1")
		require.Zero(t, q.EndpointChanges, "the first one is no change")
		require.Zero(t, q.EndpointChangedAt)
		require.Zero(t, at("192.0.2.1:1").EndpointChanges)
		q = at("192.0.2.1:2")
		require.EqualValues(t, 1, q.EndpointChanges, "another port")
		changed := q.EndpointChangedAt
		require.WithinRange(t, changed, time.Now().Add(-lookPeriod), time.Now())
		q = at("[2001:db8::1]:2")
		require.EqualValues(t, 2, q.EndpointChanges)
		require.True(t, q.EndpointChangedAt.After(changed))
		require.Equal(t, q.EndpointChanges, at("[2001:db8::1]:2").EndpointChanges)
	})
}

// TestHandshakeLoss has a peer that always sends get sessions as WireGuard does: two minutes after the one before, and 5 s later
// for each handshake that fails.
func TestHandshakeLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		send := func(d time.Duration) {
			for range d / (100 * time.Millisecond) {
				r.dataplane.move(key, quota.Upload, 100)
				pass(100 * time.Millisecond)
			}
		}
		session := func(failed int) {
			const roundTrip, jitter = 200 * time.Millisecond, 300 * time.Millisecond
			send(rekeyAfter + roundTrip + time.Duration(failed)*(retryAfter+jitter))
			require.True(t, r.dataplane.shake(key))
		}
		require.True(t, r.dataplane.shake(key))
		for range minAttempts - 1 {
			session(0)
		}
		send(lookPeriod)
		_, known := r.quality(t, key).Handshakes.Share()
		require.False(t, known)
		want := HandshakeLoss{Attempts: minAttempts - 1}
		require.Equal(t, want, r.quality(t, key).Handshakes)
		require.True(t, r.dataplane.shake(key))
		for _, failed := range []int{1, 0, 2, 3, 0, 5} {
			session(failed)
			want.Attempts += uint32(failed) + 1
			want.Failed += uint32(failed)
		}
		send(lookPeriod)
		require.Equal(t, want, r.quality(t, key).Handshakes)
		share, known := r.quality(t, key).Handshakes.Share()
		require.True(t, known)
		require.InDelta(t, 11.0/21, share, 1e-9)

		// Silence is no loss: of a peer that comes back when the session has ended, and of one that sends nothing.
		send(rekeyAfter + 5*time.Second)
		pass(time.Hour)
		require.True(t, r.dataplane.shake(key))
		pass(rekeyAfter + 45*time.Second)
		require.True(t, r.dataplane.shake(key))
		pass(lookPeriod)
		require.Equal(t, want, r.quality(t, key).Handshakes)

		// Without a session each first message that comes is a handshake that failed.
		pass(sessionLife)
		r.dataplane.try(key, 2, 0)
		pass(lookPeriod)
		want.Attempts, want.Failed = want.Attempts+2, want.Failed+2
		require.Equal(t, want, r.quality(t, key).Handshakes)
		require.Equal(t, ConnectionUnreachable, r.quality(t, key).State)
		r.dataplane.mu.Lock()
		r.dataplane.outer[key] = quota.Counters{Upload: 1} // another device
		r.dataplane.mu.Unlock()
		pass(lookPeriod)
		require.Equal(t, want, r.quality(t, key).Handshakes)
	})
}

func TestHandshakeLossForgets(t *testing.T) {
	var l HandshakeLoss
	for range 1000 {
		l.add(1, 1)
	}
	share, known := l.Share()
	require.True(t, known)
	require.InDelta(t, 1.0, share, 0)
	for range 1000 {
		l.add(1, 0)
	}
	require.LessOrEqual(t, l.Attempts, uint32(maxAttempts))
	share, _ = l.Share()
	require.Zero(t, share)
}

// BenchmarkQuality has 10,000 peers: what a reading of counters alone costs the node beside the dataplane's work, what one with
// handshakes does, and what telling of all does.
func BenchmarkQuality(b *testing.B) {
	const count = 10_000
	n, err := New(Config{Dataplane: &fakeDataplane{}})
	require.NoError(b, err)
	now := time.Now()
	var stats Stats
	for i := range count {
		key := wgtypes.Key{byte(i), byte(i >> 8), 1}
		p := &peer{key: key}
		p.core, err = newCore(uint64(i+1), quota.Cap{}, now)
		require.NoError(b, err)
		n.inv.addPeer(p)
		stats.Peers = append(stats.Peers, PeerStats{
			PublicKey: key, LastHandshake: now, Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(i)),
		})
	}
	for _, q := range []StatsQuery{{All: true}, {All: true, Device: true}} {
		b.Run(fmt.Sprintf("observe/handshakes=%t", q.Device), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				for i := range stats.Peers {
					stats.Peers[i].Counters.Upload++
				}
				n.observe(q, stats, now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/peer")
		})
	}
	b.Run("tell", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, p := range n.inv.peerOrder.entries {
				if p.qualityAt(&n.inv.quiet, now, time.Minute).ReadAt.IsZero() {
					b.Fatal("nothing was seen")
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/peer")
	})
}
