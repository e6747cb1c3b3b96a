package bench

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
)

// tunnelMTU is the largest packet inside the tunnel, in bytes.
const tunnelMTU = wgnode.DefaultMTU

// site is three kinds of hosts: the exit's, which is the benchmark's own namespace, a server behind it, and clients before it.
//
//	client 10.x.y.z --tunnel over 172.16.i.0/24-- host --198.51.100.0/24-- far
type site struct {
	far     *netns.Namespace
	clients int
	world   *server // in far
}

// Addresses of a site.
const (
	hostFar4, far4 = "198.51.100.1/24", "198.51.100.2/24"
	hostFar6, far6 = "2001:db8::1/64", "2001:db8::2/64"
	farLink        = "far0"
	// gateway4 and gateway6 are the exit's own addresses in the tunnel, with the pool.
	gateway4, gateway6 = "10.0.0.1/8", "fd77::1/64"
)

// newSite makes the hosts and starts the server. All goes with the benchmark.
func newSite(tb testing.TB) *site {
	tb.Helper()
	netns.Require(tb)
	testutil.RequireRoot(tb)
	s := &site{far: netns.New(tb)}
	netns.Veth(tb, netns.End{Name: farLink, Addrs: prefixes(hostFar4, hostFar6)},
		netns.End{Namespace: s.far, Name: "host0", Addrs: prefixes(far4, far6)})
	s.world = newServer(tb, s.far, netip.MustParsePrefix(far4).Addr(), netip.MustParsePrefix(far6).Addr())
	return s
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// peer is a peer of the exit's with its private key.
type peer struct {
	private wgtypes.Key
	wgnode.PeerState
}

// newPeer is the i-th peer, from 0 on, changed by edit.
func newPeer(tb testing.TB, i int, edit ...func(*wgnode.PeerState)) peer {
	tb.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(tb, err)
	p := peer{private: key, PeerState: wgnode.PeerState{PublicKey: key.PublicKey(), Addrs: peerAddrs(i)}}
	for _, f := range edit {
		f(&p.PeerState)
	}
	return p
}

// idlePeers are n peers that nobody has the keys of, after the first so many.
func idlePeers(first, n int, edit ...func(*wgnode.PeerState)) []wgnode.PeerState {
	states := make([]wgnode.PeerState, n)
	for i := range states {
		states[i].Addrs = peerAddrs(first + i)
		_, _ = rand.Read(states[i].PublicKey[:]) // never fails
		for _, f := range edit {
			f(&states[i])
		}
	}
	return states
}

// peerAddrs are the addresses of the i-th peer.
func peerAddrs(i int) []netip.Addr {
	n := i + 2
	return []netip.Addr{
		netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
		netip.MustParseAddr(fmt.Sprintf("fd77::%x:%x", n>>16, n&0xffff)),
	}
}
