package conformance

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/wgnode"
)

// testAddresses gives addresses from one peer to another within one change: at no time do two have them, and then the new
// owner has them alone.
func testAddresses(t *testing.T, h Harness) {
	d := newDirect(newBareWorld(t, h))
	a, aPrivate := d.peer(2)
	b, bPrivate := d.peer(3)
	leaving, leavingPrivate := d.peer(4)
	d.start(wgnode.State{Peers: []wgnode.PeerState{a, b, leaving}})
	formerA, gone := d.connect(a, aPrivate), d.connect(leaving, leavingPrivate)
	d.exits(formerA)
	d.exits(gone)
	_, _ = formerA.quiet(), gone.quiet() // or a server sends the end of a connection again, to the next owner

	newA, newB := a, b
	newA.Addrs, newB.Addrs = b.Addrs, a.Addrs
	heir, heirPrivate := d.peer(4)
	d.apply(wgnode.Change{
		RemovePeers: []wgtypes.Key{leaving.PublicKey}, SetPeers: []wgnode.PeerState{newA, newB, heir},
	})
	want := wgnode.State{Peers: []wgnode.PeerState{newA, newB, heir}}
	d.inSync(want)
	require.Equal(t, keys(newA, newB, heir), d.present())
	d.cutOff(formerA) // its device still has the former addresses
	d.cutOff(gone)
	require.Zero(t, d.peerStats(b.PublicKey).Counters, "a peer is charged for what came from its addresses' former owner")
	formerA.disconnect()
	d.exits(d.connect(newA, aPrivate))
	d.exits(d.connect(newB, bPrivate))
	c := d.connect(heir, heirPrivate)
	d.exits(c)
	require.NotZero(t, d.peerStats(b.PublicKey).Counters)

	// One family less, and back.
	narrow := heir
	narrow.Addrs = heir.Addrs[:1]
	open, closed := d.place("internet", "tcp", d.at(internet4)), d.place("internet", "tcp", d.at(internet6))
	d.apply(wgnode.Change{SetPeers: []wgnode.PeerState{narrow}})
	d.denied(c, []place{closed}, []place{open})
	d.apply(wgnode.Change{SetPeers: []wgnode.PeerState{heir}})
	d.allowed(c, []place{open, closed})
	d.inSync(want)
}

// testFragments exchanges datagrams larger than the tunnel's packets. They cross in fragments, each counted as it is, or all
// as the one packet that they are of.
func testFragments(t *testing.T, h Harness) {
	w := newWorld(t, h)
	for _, limit := range []wgnode.PeerSpec{{}, {SpeedLimit: both(mbit(20))}} {
		c := w.join(limit)
		whole := uint64(0) // bytes of the datagrams that come back, as packets that were never cut
		for _, server := range []netip.Addr{internet4, internet6} {
			conn, err := c.stack.Dial(w.ctx, "udp", w.serveUDP(w.at(server), same).addr)
			require.NoError(t, err)
			defer conn.Close()
			for _, size := range []int{c.cfg.MTU - 48, c.cfg.MTU, 4000, 9000} {
				sent, got := bytes.Repeat([]byte{byte(size)}, size), make([]byte, 1<<16)
				_, err := conn.Write(sent)
				require.NoError(t, err)
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
				n, err := conn.Read(got)
				require.NoError(t, err, "a datagram of %d bytes to %s", size, server)
				require.Equal(t, sent, got[:n])
				whole += uint64(headerLen(server) + header.UDPMinimumSize + size)
			}
		}
		received := c.quiet()
		if w.traits.Reassembles {
			require.Equal(t, whole, w.counters(c).Download)
		} else {
			require.Equal(t, received, w.counters(c).Download)
		}
		require.Greater(t, received, whole)
	}
}
