package wgnode

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// idleDataplane does nothing, so that what is measured is the node.
type idleDataplane struct{}

func (idleDataplane) Start(context.Context, DataplaneConfig, State) (DataplaneInfo, error) {
	return DataplaneInfo{Name: "idle"}, nil
}
func (idleDataplane) Apply(context.Context, Change) error              { return nil }
func (idleDataplane) Sync(context.Context, State) ([]Repair, error)    { return nil, nil }
func (idleDataplane) Stats(context.Context, StatsQuery) (Stats, error) { return Stats{}, nil }
func (idleDataplane) Close() error                                     { return nil }

// filled is a node with n peers, on a store in memory.
func filled(b *testing.B, peers int) *Node {
	b.Helper()
	return filledOn(b, idleDataplane{}, peers)
}

func filledOn(b *testing.B, d Dataplane, peers int) *Node {
	b.Helper()
	n, err := New(Config{Dataplane: d})
	require.NoError(b, err)
	require.NoError(b, n.Start(b.Context()))
	b.Cleanup(func() { n.Close() })
	_, err = n.PutAccount(b.Context(), AccountSpec{ID: "acme", DataCap: quota.Cap{Bytes: quota.TiB}})
	require.NoError(b, err)
	for range peers {
		_, err := n.AddPeer(b.Context(), PeerSpec{Account: "acme", DataCap: quota.Cap{Bytes: quota.GiB}})
		require.NoError(b, err)
	}
	return n
}

// BenchmarkAddPeer adds a peer and removes it again, beside others.
func BenchmarkAddPeer(b *testing.B) {
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(b, err)
	spec := PeerSpec{PublicKey: key.PublicKey(), Account: "acme", DataCap: quota.Cap{Bytes: quota.GiB}}
	for _, peers := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			n := filled(b, peers)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.AddPeer(b.Context(), spec); err != nil {
					b.Fatal(err)
				}
				if err := n.RemovePeer(b.Context(), spec.PublicKey); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkState makes what a sync compares the dataplane with.
func BenchmarkState(b *testing.B) {
	n := filled(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		if s := n.inv.state(); len(s.Peers) != 10_000 {
			b.Fatal("not all peers")
		}
	}
}

// BenchmarkPeers lists all peers.
func BenchmarkPeers(b *testing.B) {
	n := filled(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		for range n.Peers(ListOptions{}) {
			count++
		}
		if count != 10_000 {
			b.Fatal("not all peers")
		}
	}
}
