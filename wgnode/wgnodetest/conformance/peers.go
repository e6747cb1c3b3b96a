package conformance

import (
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
)

// testPeerToPeer: peers do not reach each other, in either family, of one account or of two, until a rule allows it; and
// then only the way that it says.
func testPeerToPeer(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.putAccount(wgnode.AccountSpec{ID: "one"})
	w.putAccount(wgnode.AccountSpec{ID: "two"})
	a := w.join(wgnode.PeerSpec{Account: "one"})
	b := w.join(wgnode.PeerSpec{Account: "one"})
	c := w.join(wgnode.PeerSpec{Account: "two", Labels: map[string]string{"role": "printer"}})
	const port, otherPort = 80, 81

	places := make(map[*client][]place)
	for _, peer := range []*client{a, b, c} {
		for _, addr := range []netip.Addr{peer.v4, peer.v6} {
			for _, port := range []uint16{port, otherPort} {
				places[peer] = append(places[peer], w.placeOn(peer, "tcp", netip.AddrPortFrom(addr, port)),
					w.placeOn(peer, "udp", netip.AddrPortFrom(addr, port)))
			}
			places[peer] = append(places[peer], place{name: "peer", network: "icmp", to: netip.AddrPortFrom(addr, 0)})
		}
	}
	internet := []place{w.place("internet", "tcp", w.at(internet4)), w.place("internet", "udp", w.at(internet6))}

	w.denied(a, append(places[b], places[c]...), internet)
	w.denied(b, places[c], internet)
	w.denied(c, places[a], internet)

	// a may open TCP connections to one port of c, and c answers; nothing else.
	rule := isolation.Rule{
		From: isolation.Match{Accounts: []string{"one"}}, To: isolation.Match{Labels: map[string]string{"role": "printer"}},
		Protocol: isolation.TCP, Ports: []isolation.PortRange{{First: port, Last: port}},
	}
	require.NoError(t, w.node.SetPolicy(w.ctx, isolation.Policy{Allow: []isolation.Rule{rule}}))
	var allowed, rest []place
	for _, p := range places[c] {
		if p.network == "tcp" && p.to.Port() == port {
			allowed = append(allowed, p)
		} else {
			rest = append(rest, p)
		}
	}
	require.Len(t, allowed, 2)
	w.denied(a, append(rest, places[b]...), allowed)
	w.denied(c, append(places[a], places[b]...), internet)

	// All protocols, and the policy withdrawn from under a connection.
	policy := isolation.Policy{Allow: []isolation.Rule{{
		From: isolation.Match{Peers: []string{a.key().String()}}, To: isolation.Match{Peers: []string{b.key().String()}},
	}}}
	require.NoError(t, w.node.SetPolicy(w.ctx, policy))
	w.denied(a, places[c], places[b])
	w.denied(b, places[a], internet)
	for _, addr := range []netip.Addr{b.v4, b.v6} {
		w.withdrawn(policy, a, netip.AddrPortFrom(addr, port))
	}
}

// placeOn puts an echo server on a client.
func (w *world) placeOn(c *client, network string, to netip.AddrPort) place {
	w.t.Helper()
	p := place{name: "peer", network: network, to: to}
	if network == "tcp" {
		l, err := c.stack.ListenTCP(to)
		require.NoError(w.t, err)
		p.server = w.serveOn(to, l, echo)
	} else {
		l, err := c.stack.ListenUDP(to)
		require.NoError(w.t, err)
		p.server = w.serveOnUDP(to, l, same)
	}
	return p
}

// withdrawn asserts that a connection between peers is cut when the policy that allows it is replaced, and lives on when
// the policy returns.
func (w *world) withdrawn(allowing isolation.Policy, c *client, to netip.AddrPort) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	conn, err := c.stack.Dial(ctx, "tcp", to)
	require.NoError(w.t, err)
	defer conn.Close()
	say := func() {
		_, err := conn.Write([]byte("hello"))
		require.NoError(w.t, err)
	}
	hear := func(patience time.Duration) error {
		require.NoError(w.t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, err := io.ReadFull(conn, make([]byte, 5))
		return err
	}
	say()
	require.NoError(w.t, hear(patience))

	require.NoError(w.t, w.node.SetPolicy(w.ctx, isolation.Policy{}))
	dropped, received := w.dropped(), c.received.packets.Load()
	say()
	w.eventually(func() bool { return w.dropped() > dropped }, "no packet of a flow that is no longer allowed is dropped")
	require.Error(w.t, hear(vain), "a connection outlives the policy that allowed it")
	require.Equal(w.t, received, c.received.packets.Load(), "packets of a connection that is no longer allowed")

	require.NoError(w.t, w.node.SetPolicy(w.ctx, allowing))
	require.NoError(w.t, hear(patience), "the connection does not go on where it was cut")
}
