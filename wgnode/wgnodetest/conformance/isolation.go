package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// vain is how long the suite tries what must not succeed. That it fails by then is not the proof; that the server never
// heard of it, that the dataplane says it dropped packets, and that the same attempt succeeds once a rule allows it, are.
const vain = 500 * time.Millisecond

// place is where a probe goes.
type place struct {
	name    string
	network string
	to      netip.AddrPort
	server  *server // nil where none can be
}

func (p place) String() string { return fmt.Sprintf("%s (%s %s)", p.name, p.network, p.to) }

// closedPlaces are what the default policy closes and a rule can open, beside other peers.
func closedPlaces(w *world) map[string]netip.Addr {
	places := map[string]netip.Addr{
		"host loopback IPv4": netip.MustParseAddr("127.0.0.1"),
		"host loopback IPv6": netip.MustParseAddr("::1"),
		"private 10/8":       netip.MustParseAddr("10.200.0.9"),
		"private 172.16/12":  netip.MustParseAddr("172.16.5.4"),
		"private 192.168/16": netip.MustParseAddr("192.168.1.1"),
		"unique local":       netip.MustParseAddr("fd12:3456::1"),
		"shared 100.64/10":   netip.MustParseAddr("100.64.0.1"),
		"link-local IPv4":    netip.MustParseAddr("169.254.7.7"),
		"link-local IPv6":    netip.MustParseAddr("fe80::7"),
		"metadata IPv4":      netip.MustParseAddr("169.254.169.254"),
		"metadata IPv6":      netip.MustParseAddr("fd00:ec2::254"),
		"reserved":           netip.MustParseAddr("198.18.0.1"),
	}
	if rig, ok := w.rig.(HostRig); ok {
		for i, addr := range rig.HostAddrs() {
			places[fmt.Sprintf("host address %d", i+1)] = addr
		}
	} else {
		w.t.Log("host addresses other than loopback are not tested: the rig names none")
	}
	return places
}

// sealedPlaces are destinations that nothing can listen at, or that no rule may open: they stand for another, or for many.
func sealedPlaces() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("0.0.0.1"), netip.MustParseAddr("224.0.0.1"),
		netip.MustParseAddr("239.255.255.250"), netip.MustParseAddr("240.0.0.1"), netip.MustParseAddr("255.255.255.255"),
		netip.MustParseAddr("::"), netip.MustParseAddr("::7f00:1"), netip.MustParseAddr("::ffff:127.0.0.1"),
		netip.MustParseAddr("::ffff:192.0.2.10"), netip.MustParseAddr("64:ff9b::7f00:1"), netip.MustParseAddr("64:ff9b::c0a8:101"),
		netip.MustParseAddr("64:ff9b:1::c000:20a"), netip.MustParseAddr("2002:7f00:1::1"), netip.MustParseAddr("2001::1"),
		netip.MustParseAddr("2001:db8::5efe:7f00:1"), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("ff0e::1"),
	}
}

// sealed asserts that packets to the sealed places are dropped, each and every one. Nothing else may be dropped meanwhile.
func (w *world) sealed(c *client) {
	w.t.Helper()
	before := w.dropped()
	for _, addr := range sealedPlaces() {
		to := netip.AddrPortFrom(addr, 4000)
		c.send(wgnodetest.UDPPacket(netip.AddrPortFrom(c.addr(addr), 4000), to, []byte("nobody")))
		c.send(tcpPacket(netip.AddrPortFrom(c.addr(addr), 4000), to, header.TCPFlagSyn))
	}
	due := before + 2*uint64(len(sealedPlaces()))
	if w.traits.DropsUncounted {
		w.exits(c) // what was sent after them has arrived
		require.LessOrEqual(w.t, w.dropped(), due)
	} else {
		w.eventually(func() bool { return w.dropped() >= due }, "packets to addresses that nothing can be at are not dropped")
		require.Equal(w.t, due, w.dropped())
	}
	if rig, ok := w.rig.(WatchedRig); ok {
		for _, addr := range sealedPlaces() {
			require.False(w.t, rig.Left(addr), "a packet to %s has left", addr)
		}
	}
}

// testIsolation tries everything that the default policy closes and opens, and then opens what was closed.
func testIsolation(t *testing.T, h Harness) {
	w := newWorld(t, h)
	a := w.join(wgnode.PeerSpec{})
	w.sealed(a)
	var closed, open []place
	for name, addr := range closedPlaces(w) {
		closed = append(closed, w.place(name, "tcp", w.at(addr)), w.place(name, "udp", w.at(addr)))
	}
	for _, addr := range []netip.Addr{internet4, internet6} {
		closed = append(closed, w.place("mail", "tcp", netip.AddrPortFrom(addr, 25)))
	}
	for name, addr := range map[string]netip.Addr{"internet": internet4, "other internet": other4, "internet IPv6": internet6} {
		open = append(open, w.place(name, "tcp", w.at(addr)), w.place(name, "udp", w.at(addr)))
		open = append(open, w.echoes(name, addr)...)
	}
	before := w.dropped()
	w.denied(a, closed, open)
	w.eventually(func() bool { return w.dropped()-before >= uint64(len(closed)) }, "packets counted as dropped")

	// The same attempts succeed when rules allow them, for this peer and for no other.
	b := w.join(wgnode.PeerSpec{})
	rule := isolation.Rule{From: isolation.Match{Peers: []string{a.key().String()}}}
	var opened, never []place
	for _, p := range closed {
		rule.To.Prefixes = append(rule.To.Prefixes, netip.PrefixFrom(p.to.Addr(), p.to.Addr().BitLen()))
		switch {
		case w.unreachable(p.to.Addr()):
			never = append(never, p)
		case p.server != nil:
			opened = append(opened, p)
		}
	}
	require.NotEmpty(t, opened)
	require.NoError(t, w.node.SetPolicy(w.ctx, isolation.Policy{Allow: []isolation.Rule{rule}}))
	w.denied(b, closed, open)
	w.allowed(a, opened)
	if len(never) > 0 {
		w.denied(a, never, open)
	}

	// A rule that denies beats one that allows, and closes the internet.
	rule.From = isolation.Match{}
	rule.To.Prefixes = nil
	for _, p := range open {
		rule.To.Prefixes = append(rule.To.Prefixes, netip.PrefixFrom(p.to.Addr(), p.to.Addr().BitLen()))
	}
	require.NoError(t, w.node.SetPolicy(w.ctx, isolation.Policy{
		Allow: []isolation.Rule{{To: isolation.Match{Internet: true}}}, Deny: []isolation.Rule{rule},
	}))
	w.denied(a, open, nil)
	require.NoError(t, w.node.SetPolicy(w.ctx, isolation.Policy{}))
	w.denied(a, closed, open)
}

func (w *world) unreachable(addr netip.Addr) bool {
	rig, ok := w.rig.(UnreachableRig)
	return ok && rig.Unreachable(addr)
}

// place puts an echo server where a probe will go.
func (w *world) place(name, network string, to netip.AddrPort) place {
	w.t.Helper()
	p := place{name: name, network: network, to: to}
	if network == "tcp" {
		p.server = w.serveTCP(to, echo)
	} else {
		p.server = w.serveUDP(to, same)
	}
	return p
}

// echoes is a host to ping, if the rig has one.
func (w *world) echoes(name string, addr netip.Addr) []place {
	w.t.Helper()
	rig, ok := w.rig.(EchoRig)
	if !ok {
		w.t.Log("echo is not tested: the rig has no host that answers")
		return nil
	}
	err := rig.AnswerEcho(addr)
	if errors.Is(err, errors.ErrUnsupported) {
		w.t.Logf("echo is not tested: %v", err)
		return nil
	}
	require.NoError(w.t, err)
	return []place{{name: name, network: "icmp", to: netip.AddrPortFrom(addr, 0)}}
}

// denied asserts that a client reaches none of the closed places, while it reaches every open one.
func (w *world) denied(c *client, closed, open []place) {
	w.t.Helper()
	arrived := make([]uint64, len(closed))
	for i, p := range closed {
		if p.server != nil {
			arrived[i] = p.server.arrived.Load()
		}
	}
	ctx, cancel := context.WithTimeout(w.ctx, vain)
	defer cancel()
	errs := make([]error, len(closed))
	var wg sync.WaitGroup
	for i, p := range closed {
		wg.Go(func() { errs[i] = c.reach(ctx, p.network, p.to) })
	}
	w.allowed(c, open)
	wg.Wait()
	for i, p := range closed {
		require.Error(w.t, errs[i], "%v is reached", p)
		if p.server != nil {
			require.Equal(w.t, arrived[i], p.server.arrived.Load(), "packets arrived at %v", p)
		}
	}
}

// allowed asserts that a client reaches every place.
func (w *world) allowed(c *client, places []place) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	errs := make([]error, len(places))
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() { errs[i] = c.reach(ctx, p.network, p.to) })
	}
	wg.Wait()
	for i, p := range places {
		require.NoError(w.t, errs[i], "%v is not reached", p)
	}
}
