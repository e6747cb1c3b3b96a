package wgnode

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/heap"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// quietDataplane has peers that were never heard of.
type quietDataplane struct {
	idleDataplane
	peers int
}

func (d quietDataplane) Stats(_ context.Context, q StatsQuery) (Stats, error) {
	if !q.All {
		return Stats{}, nil
	}
	s := Stats{Peers: make([]PeerStats, d.peers)}
	for i := range s.Peers {
		s.Peers[i].PublicKey = quietKey(i)
	}
	return s, nil
}

// quietKey is the key of the peer of that number.
func quietKey(i int) (key wgtypes.Key) {
	binary.BigEndian.PutUint64(key[:], uint64(i+1)*0x9e3779b97f4a7c15)
	key[31] = 1
	return key
}

// registered is a node with peers that were never heard of, and were read, on a store that keeps nothing.
func registered(tb testing.TB, peers int, edit func(*PeerSpec)) *Node {
	n, err := New(Config{Dataplane: quietDataplane{peers: peers}, Store: forgetful{}})
	require.NoError(tb, err)
	require.NoError(tb, n.Start(tb.Context()))
	const some = 10_000
	for from := 0; from < peers; from += some {
		specs := make([]PeerSpec, min(some, peers-from))
		for i := range specs {
			specs[i].PublicKey = quietKey(from + i)
			if edit != nil {
				edit(&specs[i])
			}
		}
		_, err := n.AddPeers(tb.Context(), specs)
		require.NoError(tb, err)
	}
	release, err := n.acquire(tb.Context())
	require.NoError(tb, err)
	n.lookAt = time.Time{} // handshakes are read with the next checkpoint, too
	release()
	require.NoError(tb, n.Checkpoint(tb.Context()))
	list, err := n.PeerQualities()
	require.NoError(tb, err)
	require.Len(tb, list, peers)
	require.Equal(tb, ConnectionNever, list[0].State)
	return n
}

// forgetful is a store that keeps nothing, so that what is measured is the node.
type forgetful struct{}

func (forgetful) Load(context.Context) iter.Seq2[Record, error] {
	return func(func(Record, error) bool) {}
}
func (forgetful) Commit(context.Context, []Mutation) error { return nil }
func (forgetful) Close() error                             { return nil }

func sold(s *PeerSpec) {
	s.SpeedLimit = shaping.Limit{Download: 20e6, Upload: 5e6}
	s.DataCap = quota.Cap{Bytes: quota.TiB, Period: quota.Period{Kind: quota.Monthly, TimeZone: "Europe/Berlin"}}
}

// BenchmarkRegisteredMemory is what the node itself keeps for a peer that was never heard of.
func BenchmarkRegisteredMemory(b *testing.B) {
	for _, peers := range []int{10_000, 100_000} {
		for _, v := range []struct {
			name string
			edit func(*PeerSpec)
		}{{"bare", nil}, {"sold", sold}} {
			b.Run(fmt.Sprintf("peers=%d/%s", peers, v.name), func(b *testing.B) {
				heap.Report(b, peers, func() any {
					n := registered(b, peers, v.edit)
					b.Cleanup(func() { require.NoError(b, n.Close()) })
					return n
				})
			})
		}
	}
}

// TestRegisteredPeerMemory holds what the node itself keeps for a peer that was never heard of.
func TestRegisteredPeerMemory(t *testing.T) {
	const peers, bound = 10_000, 560 // bytes each
	got := heap.PerItem(peers, func() any {
		n := registered(t, peers, sold)
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		return n
	})
	require.Less(t, got, heap.Room*bound)
}

// TestPeerMemoryAtRest holds what the node keeps for a peer that was connected once, beside what it keeps for one that never was.
func TestPeerMemoryAtRest(t *testing.T) {
	const peers, bound = 10_000, 130 // bytes each
	n := registered(t, peers, nil)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	got := heap.PerItem(peers, func() any {
		left := Stats{Peers: make([]PeerStats, peers)}
		for i := range left.Peers {
			left.Peers[i] = PeerStats{
				PublicKey: quietKey(i), LastHandshake: time.Now().Add(-time.Hour), Endpoint: netip.MustParseAddrPort("192.0.2.1:1"),
				Received: 1000, Sent: 1000,
			}
		}
		release, err := n.acquire(t.Context()) // the node reads, too, as often as it is to
		require.NoError(t, err)
		defer release()
		n.observe(StatsQuery{All: true, Device: true}, left, time.Now())
		require.True(t, n.inv.peer(quietKey(0)).atRest())
		return n
	})
	require.Less(t, got, heap.Room*bound)
	list, err := n.PeerQualities()
	require.NoError(t, err)
	require.Equal(t, ConnectionStale, list[0].State)
}
