package kernel_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	packets "github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// Hosts on the internet: two behind the uplink, and two on another network of the host's.
var (
	far4   = netip.MustParseAddr("192.0.2.10")
	far6   = netip.MustParseAddr("2001:db8::10")
	other4 = netip.MustParseAddr("198.51.100.20")
	other6 = netip.MustParseAddr("2001:db8:eeee::20")
)

// sources are addresses that packets leave with, one of each family.
type sources []netip.Addr

func (s sources) like(addr netip.Addr) netip.Addr {
	return s[slices.IndexFunc(s, func(a netip.Addr) bool { return a.Is4() == addr.Is4() })]
}

func newUplink(tb testing.TB) *wire {
	tb.Helper()
	return newWire(tb, uplink, 1500, []netip.Prefix{host4, host6}, "0.0.0.0/0", "::/0")
}

// requireLeavesAs asserts that whatever a peer sends to hosts at the end of a wire leaves with the one source address; and that
// what comes back is the peer's: answers, echo replies, and errors of the hosts and of a router, about what the peer has sent.
func (v *visitor) requireLeavesAs(tb testing.TB, w *wire, as sources, hosts ...netip.Addr) {
	tb.Helper()
	const closed = 9
	w.departed.reset()
	v.arrived.reset()
	requireEcho(tb, v.Stack, hosts...)
	for _, host := range hosts {
		self, id := v.addr(host), flowNumber()
		v.device.send(echoRequest(self, host, id))
		from, to := netip.AddrPortFrom(self, flowNumber()), netip.AddrPortFrom(host, closed)
		router := sources{netip.MustParseAddr("198.51.100.254"), netip.MustParseAddr("2001:db8:fe::1")}.like(host)
		errorOf := func(of netip.Addr) func(seen) bool {
			return func(s seen) bool { return s.Src == of && s.IsICMPError() }
		}

		reply := v.arrived.await(tb, "the echo reply", func(s seen) bool { return s.Src == host && s.IsEchoReply() })
		require.Equal(tb, id, reply.ICMPID)
		require.Equal(tb, self, reply.Dst)

		v.device.send(udpPacket(from, to, "is anybody there?"))
		v.requireAbout(tb, from, to, v.arrived.await(tb, "the host's error", errorOf(host)))

		left := w.departed.await(tb, "the datagram", func(s seen) bool { return s.Dst == host && s.DstPort == closed })
		w.inject(tb, tooBig(router, left, 1300))
		v.requireAbout(tb, from, to, v.arrived.await(tb, "the router's error", errorOf(router)))
	}
	for _, host := range hosts {
		seenBy := make(map[uint8]bool)
		for _, s := range w.departed.that(func(s seen) bool { return s.Dst == host }) {
			require.Equal(tb, as.like(host), s.Src, "protocol %d", s.Proto)
			seenBy[s.Proto] = true
		}
		icmp := packets.ICMP
		if host.Is6() {
			icmp = packets.ICMPv6
		}
		require.Equal(tb, map[uint8]bool{packets.TCP: true, packets.UDP: true, icmp: true}, seenBy)
	}
}

// flowCount counts those that tests have made themselves.
var flowCount atomic.Uint32

// flowNumber is a port or identifier that no other flow has: conntrack goes on translating a flow as it began, whatever the
// tables say since.
func flowNumber() uint16 { return uint16(20000 + flowCount.Add(1)) }

// requireAbout asserts that an error is the peer's to read: to it, about what it sent from an address and port to another.
func (v *visitor) requireAbout(tb testing.TB, from, to netip.AddrPort, s seen) {
	tb.Helper()
	require.Equal(tb, from.Addr(), s.Dst)
	q := quoted(tb, s)
	require.Equal(tb, from, netip.AddrPortFrom(q.Src, q.SrcPort))
	require.Equal(tb, to, netip.AddrPortFrom(q.Dst, q.DstPort))
}

// TestSourceAddresses has peers leave with addresses that were chosen, be they the host's or only routed to it. A family for
// which none was chosen is masqueraded.
func TestSourceAddresses(t *testing.T) {
	own := sources{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:ffff::9")}
	routed := sources{netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8:9::9")}
	for name, c := range map[string]struct{ chosen, leaves sources }{
		"masquerade":      {nil, sources{host4.Addr(), host6.Addr()}},
		"of the host":     {own, own},
		"routed to it":    {routed, routed},
		"IPv4 only":       {own[:1], sources{own[0], host6.Addr()}},
		"IPv6 only":       {own[1:], sources{host4.Addr(), own[1]}},
		"six before four": {sources{own[1], own[0]}, own},
	} {
		t.Run(name, func(t *testing.T) {
			ready := newHost(t)
			w := newUplink(t)
			for _, addr := range c.chosen {
				if slices.Contains(own, addr) {
					netns.AddAddr(t, nil, uplink, netip.PrefixFrom(addr, addr.BitLen()))
				}
			}
			ready()
			w.host(t, far4, far6)
			v := newVisitor(t, kernel.Config{SourceAddrs: c.chosen})
			v.requireLeavesAs(t, w, c.leaves, far4, far6)
		})
	}
}

// TestRouted has peers leave as themselves: what comes back to them passes, and nothing else does.
func TestRouted(t *testing.T) {
	ready := newHost(t)
	w := newUplink(t)
	ready()
	w.host(t, far4, far6)
	v := newVisitor(t, kernel.Config{NAT: kernel.NATNone})
	v.requireLeavesAs(t, w, v.client.Addrs, far4, far6)
	require.NotContains(t, output(t, "nft", "list", "table", "inet", "waylume_"+rigInterface), "masquerade")

	for _, host := range []netip.Addr{far4, far6} {
		self := v.addr(host)
		t.Run("unsolicited to "+self.String(), func(t *testing.T) { v.requireNoWayIn(t, w, host) })
		t.Run("spoofed as other than "+self.String(), func(t *testing.T) { v.requireNoDisguise(t, w, host) })
		t.Run("from outside as "+self.String(), func(t *testing.T) {
			// The host's own stack answers no ping from an address that is a peer's and comes by another way.
			before := v.dropped(t, "spoofed")
			w.departed.reset()
			v.arrived.reset()
			w.inject(t, echoRequest(self, hostAddr(host), 7))
			requireEcho(t, v.Stack, host)
			require.Equal(t, before+1, v.dropped(t, "spoofed"))
			require.Empty(t, v.arrived.that(func(s seen) bool { return s.Src == hostAddr(host) }))
			require.Empty(t, w.departed.that(func(s seen) bool { return s.Dst == self }))
		})
	}
}

// requireNoWayIn asserts that a host, to which the peer has flows, begins none to it, and that each try is counted.
func (v *visitor) requireNoWayIn(t *testing.T, w *wire, host netip.Addr) {
	self := v.addr(host)
	from, to := netip.AddrPortFrom(host, echoPort), netip.AddrPortFrom(self, 22)
	before := v.dropped(t, "unsolicited")
	v.arrived.reset()
	tries := [][]byte{synPacket(from, to, 1460), udpPacket(from, to, "knock"), echoRequest(host, self, 99)}
	for _, packet := range tries {
		w.inject(t, packet)
	}
	requireEcho(t, v.Stack, host) // behind them on the same way
	require.Equal(t, before+uint64(len(tries)), v.dropped(t, "unsolicited"))
	require.Empty(t, v.arrived.that(func(s seen) bool { return s.DstPort == to.Port() || s.IsEchoRequest() }))
}

// requireNoDisguise asserts that a peer leaves with no address but its own: not one of the pool, nor a stranger's, nor the host's.
func (v *visitor) requireNoDisguise(t *testing.T, w *wire, host netip.Addr) {
	w.departed.reset()
	strangers := sources{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")}
	for _, source := range []netip.Addr{v.addr(host).Next(), strangers.like(host), hostAddr(host)} {
		v.device.send(udpPacket(netip.AddrPortFrom(source, 1), netip.AddrPortFrom(host, 4444), "guess who"))
	}
	requireEcho(t, v.Stack, host) // behind them in the tunnel
	require.Empty(t, w.departed.that(func(s seen) bool {
		own := s.Dst.IsLinkLocalMulticast() // the host's, of multicast listeners
		return s.Src != v.addr(host) && !own || s.DstPort == 4444
	}))
}

func hostAddr(like netip.Addr) netip.Addr { return sources{host4.Addr(), host6.Addr()}.like(like) }

// dropped is how many packets did not pass for a reason.
func (v *visitor) dropped(tb testing.TB, reason string) uint64 {
	tb.Helper()
	stats, err := v.dp.Stats(tb.Context(), wgnode.StatsQuery{})
	require.NoError(tb, err)
	return stats.Dropped[reason]
}

// TestUplink has a host with two ways out. Peers take both, each with its own address, unless one is named.
func TestUplink(t *testing.T) {
	for _, named := range []string{"", uplink} {
		t.Run("named "+named, func(t *testing.T) {
			ready := newHost(t)
			first := newUplink(t)
			second := newWire(t, "other0", 1500, []netip.Prefix{
				netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("2001:db8:eeee::1/64"),
			})
			ready()
			first.host(t, far4, far6)
			second.host(t, other4, other6)
			v := newVisitor(t, kernel.Config{Uplink: named})
			v.requireLeavesAs(t, first, first.addrs, far4, far6)
			if named == "" {
				v.requireLeavesAs(t, second, second.addrs, other4, other6)
				return
			}
			for i, host := range []netip.Addr{other4, other6} {
				before := v.dropped(t, "other uplink")
				v.device.send(echoRequest(v.addr(host), host, 1))
				v.device.send(udpPacket(netip.AddrPortFrom(v.addr(host), 1), netip.AddrPortFrom(host, echoPort), "hello"))
				requireEcho(t, v.Stack, []netip.Addr{far4, far6}[i])
				require.Equal(t, before+2, v.dropped(t, "other uplink"))
			}
			require.Empty(t, second.departed.that(func(s seen) bool { return s.Dst == other4 || s.Dst == other6 }))
		})
	}
}

// TestOthersAreNotTranslated has the host route for a network of its own beside the node: what crosses is not the node's.
func TestOthersAreNotTranslated(t *testing.T) {
	inside4, inside6 := netip.MustParseAddr("192.168.7.2"), netip.MustParseAddr("2001:db8:7::2")
	ready := newHost(t)
	w := newUplink(t)
	lan := newWire(t, "lan0", 1500, []netip.Prefix{netip.MustParsePrefix("192.168.7.1/24"), netip.MustParsePrefix("2001:db8:7::1/64")})
	ready()
	w.host(t, far4, far6)
	inside := lan.host(t, inside4, inside6)
	newVisitor(t, kernel.Config{Uplink: "lan0", SourceAddrs: []netip.Addr{netip.MustParseAddr("203.0.113.9")}})
	requireEcho(t, inside, far4, far6)
	for _, s := range w.departed.that(func(s seen) bool { return s.Dst == far4 || s.Dst == far6 }) {
		require.Equal(t, sources{inside4, inside6}.like(s.Dst), s.Src)
	}
}

// TestSegments has peers and hosts begin and accept connections over paths of several widths: what either announces as its
// largest segment fits the tunnel and the wire, is never raised, and is not invented.
func TestSegments(t *testing.T) {
	for _, width := range []struct{ tunnel, wire int }{{1420, 1500}, {1280, 1500}, {1420, 1300}} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			ready := newHost(t)
			w := newWire(t, uplink, width.wire, []netip.Prefix{host4, host6}, "0.0.0.0/0", "::/0")
			ready()
			w.host(t, far4, far6)
			v := newVisitor(t, kernel.Config{}, func(n *neighbour) { n.cfg.MTU, n.client.MTU = width.tunnel, width.tunnel })
			for _, host := range []netip.Addr{far4, far6} {
				fits := uint16(min(width.tunnel, width.wire) - header.TCPMinimumSize - header.IPv4MinimumSize)
				if host.Is6() {
					fits -= header.IPv6MinimumSize - header.IPv4MinimumSize
				}
				for _, announced := range []uint16{1460, 8960, fits + 1, fits, fits - 1, 536, 0} {
					port := flowNumber()
					v.device.send(synPacket(netip.AddrPortFrom(v.addr(host), port), netip.AddrPortFrom(host, echoPort), announced))
					syn := w.departed.await(t, "the SYN", func(s seen) bool { return s.Dst == host && s.SrcPort == port })
					require.Equal(t, min(announced, fits), segmentOf(t, syn), "of %d that were announced to %s", announced, host)
					answer := v.arrived.await(t, "the answer", func(s seen) bool { return s.Src == host && s.DstPort == port })
					require.Equal(t, uint8(header.TCPFlagSyn|header.TCPFlagAck), answer.TCPFlags)
					require.Equal(t, fits, segmentOf(t, answer), "of %s, which announces 1500 bytes less headers", host)
				}
			}
		})
	}
}

// What cannot be meant is refused with the field, and what to do.
func TestBadTranslation(t *testing.T) {
	const unicast = "use a unicast address of the host"
	from := func(addrs ...netip.Addr) kernel.Config { return kernel.Config{SourceAddrs: addrs} }
	for problem, cfg := range map[string]kernel.Config{
		"SourceAddrs are set, but NAT is NATNone: drop one of them": {NAT: kernel.NATNone, SourceAddrs: []netip.Addr{far4}},

		"SourceAddrs[1] is 192.0.2.10: use at most one address of each family": from(host4.Addr(), far4),

		"SourceAddrs[0] is 224.0.0.1: " + unicast:  from(netip.MustParseAddr("224.0.0.1")),
		"SourceAddrs[0] is 127.0.0.1: " + unicast:  from(netip.MustParseAddr("127.0.0.1")),
		"SourceAddrs[0] is ::1: " + unicast:        from(netip.IPv6Loopback()),
		"SourceAddrs[0] is fe80::1: " + unicast:    from(netip.MustParseAddr("fe80::1")),
		"SourceAddrs[0] is invalid IP: " + unicast: from(netip.Addr{}),

		"ControlPorts has 0: use 1 to 65535": {ControlPorts: []uint16{22, 0}},

		"ControlAllow is set without ControlPorts: name the ports that it is about": {ControlAllow: friends},
		"ControlAllow[0] is invalid Prefix: use an IPv4 or IPv6 prefix":             {ControlPorts: []uint16{22}, ControlAllow: []netip.Prefix{{}}},

		"NAT is 7: use one of the constants": {NAT: 7},
	} {
		_, err := kernel.New(cfg)
		require.ErrorContains(t, err, problem)
		require.Len(t, strings.Split(err.Error(), "\n"), 1, "%v", err)
	}
}
