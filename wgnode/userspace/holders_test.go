package userspace

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/internal/testutil/heap"
)

// newHolders has the holdings of peers of whom each has the addresses 10.n.x.x, n being the first byte of its key.
func newHolders(limits Limits) *holders {
	return &holders{
		limits: limits, all: make(map[wgtypes.Key]*holdings), leaving: make(map[wgtypes.Key]bool),
		owner: func(addr netip.Addr) (wgtypes.Key, bool) {
			bytes := addr.As4()
			return wgtypes.Key{bytes[1], bytes[2]}, bytes[0] == 10
		},
	}
}

// TestHoldersRest follows a peer's holdings: the first flow makes them, two sweeps without one take them away, and what the peer
// has spent of its rate of new flows is not given back by that.
func TestHoldersRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHolders(DefaultLimits())
		one := netip.MustParseAddr("10.1.0.1")
		_, ok := hs.Lookup(netip.MustParseAddr("192.0.2.1"))
		require.False(t, ok, "nobody's")
		h, ok := hs.Lookup(one)
		require.True(t, ok)
		f, err := h.addTCP(stack.TransportEndpointID{LocalPort: 1})
		require.NoError(t, err)
		hs.sweep(time.Now())
		hs.sweep(time.Now())
		same, _ := hs.Lookup(one)
		require.Same(t, h, same, "it has a flow")

		h.removeTCP(f)
		hs.sweep(time.Now())
		require.Len(t, hs.all, 1, "the rate of new flows is not made up for yet")
		_, ok = hs.table.Lookup(one)
		require.True(t, ok)
		time.Sleep(time.Second)
		hs.sweep(time.Now())
		_, ok = hs.table.Lookup(one)
		require.False(t, ok, "aside")
		same, _ = hs.Lookup(one)
		require.Same(t, h, same, "back from aside")
		hs.sweep(time.Now())
		hs.sweep(time.Now())
		require.Empty(t, hs.all)
		require.Error(t, h.ctx.Err())
		other, _ := hs.Lookup(one)
		require.NotSame(t, h, other)
		hs.close()
		require.Error(t, other.ctx.Err())
		_, ok = hs.Lookup(netip.MustParseAddr("10.2.0.1"))
		require.False(t, ok, "closed")
	})
}

// TestLeaverGetsNoHoldings has a peer leave: its flows end, and no late segment begins one for an heir of its address to find.
func TestLeaverGetsNoHoldings(t *testing.T) {
	hs := newHolders(DefaultLimits())
	defer hs.close()
	one, two := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")
	h, _ := hs.Lookup(one)
	_, _ = hs.Lookup(two)
	hs.drop([]wgtypes.Key{{1}, {3}})
	require.Error(t, h.ctx.Err())
	_, ok := hs.Lookup(one)
	require.False(t, ok)
	_, ok = hs.Lookup(netip.MustParseAddr("10.3.0.1"))
	require.False(t, ok, "it had none, and gets none")
	_, ok = hs.Lookup(two)
	require.True(t, ok)
	hs.let()
	heir, ok := hs.Lookup(one)
	require.True(t, ok)
	require.NotSame(t, h, heir)
}

// TestHoldersTogether has everything about holdings happen at once.
func TestHoldersTogether(t *testing.T) {
	hs := newHolders(DefaultLimits())
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 500 {
				addr := netip.AddrFrom4([4]byte{10, byte(i % 3), 0, byte(n)})
				h, ok := hs.Lookup(addr)
				if !ok {
					continue
				}
				if f, err := h.addTCP(stack.TransportEndpointID{LocalPort: uint16(n), RemotePort: uint16(i)}); err == nil {
					h.removeTCP(f)
				}
				switch {
				case n == 0:
					hs.sweep(time.Now().Add(time.Hour))
				case n == 1 && i%7 == 0:
					hs.drop([]wgtypes.Key{{byte(i % 3)}})
					hs.let()
				}
			}
		})
	}
	wg.Wait()
	hs.sweep(time.Now().Add(time.Hour))
	hs.sweep(time.Now().Add(time.Hour))
	require.Empty(t, hs.all)
	hs.close()
}

// TestHoldingsMemory holds that peers whose flows are over cost nothing beside what package path has of them.
func TestHoldingsMemory(t *testing.T) {
	const peers = 10_000
	hs := newHolders(DefaultLimits())
	got := heap.PerItem(peers, func() any {
		for i := range peers {
			_, ok := hs.Lookup(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}))
			require.True(t, ok)
		}
		require.Len(t, hs.all, peers)
		hs.sweep(time.Now())
		hs.sweep(time.Now())
		require.Empty(t, hs.all)
		return hs
	})
	require.Less(t, got, 150.0, "bytes: what is left is the map's own room")
}
