package wgnode

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// BenchmarkSuspendPeer suspends and resumes one of 10,000 peers.
func BenchmarkSuspendPeer(b *testing.B) {
	n := filled(b, 10_000)
	s := OfPeer(n.inv.peerOrder.entries[5_000].key)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, n.Suspend(b.Context(), s))
		require.NoError(b, n.Resume(b.Context(), s))
	}
}

// BenchmarkSuspendAccount suspends and resumes an account of 10,000 peers.
func BenchmarkSuspendAccount(b *testing.B) {
	n := filled(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, n.Suspend(b.Context(), OfAccount("acme")))
		require.NoError(b, n.Resume(b.Context(), OfAccount("acme")))
	}
}

// BenchmarkRekeyPeer gives one of 10,000 peers another key that is known.
func BenchmarkRekeyPeer(b *testing.B) {
	n := filled(b, 10_000)
	keys := []wgtypes.Key{newKey(b), newKey(b)}
	_, err := n.AddPeer(b.Context(), PeerSpec{PublicKey: keys[0]})
	require.NoError(b, err)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, err := n.RekeyPeer(b.Context(), keys[i%2], PeerKeys{PublicKey: keys[(i+1)%2]})
		require.NoError(b, err)
	}
}

// shakingDataplane has all peers shake hands between any two readings.
type shakingDataplane struct {
	idleDataplane
	handshake time.Time
}

func (d *shakingDataplane) Stats(_ context.Context, q StatsQuery) (Stats, error) {
	d.handshake = d.handshake.Add(time.Nanosecond)
	s := Stats{Peers: make([]PeerStats, len(q.Peers))}
	for i, key := range q.Peers {
		s.Peers[i] = PeerStats{PublicKey: key, LastHandshake: d.handshake}
	}
	return s, nil
}

// BenchmarkSurvey looks at the handshakes of 10,000 peers with an idle timeout.
func BenchmarkSurvey(b *testing.B) {
	n := filledOn(b, &shakingDataplane{handshake: time.Now()}, 10_000)
	require.NoError(b, n.SetIdleTimeout(b.Context(), OfAccount("acme"), time.Hour))
	release, err := n.acquire(b.Context())
	require.NoError(b, err)
	defer release()
	b.ReportAllocs()
	for b.Loop() {
		n.inv.surveyed -= surveyPeriod
		if batch, err := n.survey(b.Context()); err != nil || len(batch) != 1 {
			b.Fatal(len(batch), err)
		}
	}
}
