package wggo

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/heap"
)

// TestHistoryMemory holds what is kept of a peer that was in a device and has left it, beside what it took before.
func TestHistoryMemory(t *testing.T) {
	const peers, bound = 10_000, 112 // bytes each
	var reg registry
	reg.set(manyPeers(peers))
	l := &lane{id: 1}
	reg.open(l)
	got := heap.PerItem(peers, func() any {
		for _, e := range reg.all() {
			e.past().note(visit{lane: l.id, shaken: 1, endpoint: netip.MustParseAddrPort("192.0.2.1:1")}, reg.live)
		}
		return &reg
	})
	require.Less(t, got, heap.Room*bound)
}
