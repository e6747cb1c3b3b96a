package rules_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode/kernel/internal/flows"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// The world of the differential test: small, so that rules, peers and packets meet.
var (
	hosts     = addrs("203.0.113.7", "2001:db8:ffff::7")
	peerAddrs = addrs("10.0.0.2", "10.0.0.3", "10.7.0.1", "fd77::2", "fd77::3", "fd77::4")
	// routable are destinations that the kernel forwards or takes if the tables let it.
	routable = addrs("10.0.0.2", "10.0.0.3", "10.7.0.1", "10.0.0.9", "198.51.100.80", "198.51.100.81", "203.0.113.7", "192.168.1.1",
		"169.254.169.254", "8.8.8.8", "100.64.0.1",
		"fd77::2", "fd77::3", "fd77::4", "fd77::9", "2001:db8::80", "2001:db8::81", "64:ff9b::198.51.100.80", "64:ff9b::10.0.0.3", "2002::1",
		"2001:db8::5efe:a00:3", "2001:db8:ffff::7", "fd12::1")
	// odd are destinations that the kernel itself may refuse.
	odd = addrs("127.0.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "::ffff:10.0.0.2", "ff02::1", "fe80::1")
)

func genMatch(to bool) *rapid.Generator[isolation.Match] {
	return rapid.Custom(func(t *rapid.T) isolation.Match {
		var m isolation.Match
		one := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
		if one("peers?") {
			m.Peers = rapid.SliceOfN(rapid.SampledFrom([]string{"p0", "p1", "p2"}), 1, 2).Draw(t, "peers")
		}
		if one("accounts?") {
			m.Accounts = []string{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "account")}
		}
		if one("labels?") {
			m.Labels = map[string]string{"k": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "label")}
		}
		if one("prefixes?") {
			m.Prefixes = rapid.SliceOfN(rapid.SampledFrom(prefixes("0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.2/31", "fd77::/64", "fd77::2/127",
				"198.51.100.0/24", "198.51.100.80/32", "2001:db8::/32", "2001:db8::80/128", "192.168.0.0/16", "169.254.169.254/32",
				"64:ff9b::/96", "203.0.113.7/32", "2002::/16", "fd12::/16")), 1, 2).Draw(t, "prefixes")
		}
		m.Internet = to && one("internet")
		return m
	})
}

func genPolicy() *rapid.Generator[isolation.Policy] {
	ports := []uint16{1, 25, 26, 53, 80, 8079, 8080, 65535}
	rule := rapid.Custom(func(t *rapid.T) isolation.Rule {
		r := isolation.Rule{From: genMatch(false).Draw(t, "from"), To: genMatch(true).Draw(t, "to")}
		r.Protocol = rapid.SampledFrom([]isolation.Protocol{isolation.Any, isolation.TCP, isolation.UDP, isolation.ICMP, 50}).Draw(t, "protocol")
		if r.Protocol <= isolation.UDP && r.Protocol != isolation.ICMP && rapid.Bool().Draw(t, "ports?") {
			r.Ports = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) isolation.PortRange {
				a, b := rapid.SampledFrom(ports).Draw(t, "a"), rapid.SampledFrom(ports).Draw(t, "b")
				return isolation.PortRange{First: min(a, b), Last: max(a, b)}
			}), 1, 3).Draw(t, "ranges")
		}
		return r
	})
	return rapid.Custom(func(t *rapid.T) isolation.Policy {
		return isolation.Policy{
			Allow: rapid.SliceOfN(rule, 0, 4).Draw(t, "allow"), Deny: rapid.SliceOfN(rule, 0, 2).Draw(t, "deny"),
		}
	})
}

// genSubjects gives each address to one peer, or to none.
func genSubjects(t *rapid.T) []isolation.Subject {
	subjects := make([]isolation.Subject, 3)
	for i := range subjects {
		subjects[i] = isolation.Subject{ID: []string{"p0", "p1", "p2"}[i], Account: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "account")}
		if rapid.Bool().Draw(t, "labelled") {
			subjects[i].Labels = map[string]string{"k": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "label")}
		}
	}
	for i := range peerAddrs {
		if n := rapid.IntRange(0, 3).Draw(t, "holder"); n < 3 {
			subjects[n].Addrs = append(subjects[n].Addrs, peerAddrs[i])
		}
	}
	return slices.DeleteFunc(subjects, func(s isolation.Subject) bool { return len(s.Addrs) == 0 })
}

// first is the first packet of a flow: a SYN, a datagram, an echo request or something else.
func first(protocol uint8, src, dst netip.Addr, sport, dport uint16) []byte {
	number := protocol
	pseudo := func(n int) uint16 {
		from, to := tcpip.AddrFromSlice(src.AsSlice()), tcpip.AddrFromSlice(dst.AsSlice())
		return header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(number), from, to, uint16(n))
	}
	var transport []byte
	switch protocol {
	case uint8(header.TCPProtocolNumber):
		tcp := header.TCP(make([]byte, header.TCPMinimumSize))
		tcp.Encode(&header.TCPFields{SrcPort: sport, DstPort: dport, SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1 << 15})
		tcp.SetChecksum(^checksum.Checksum(tcp, pseudo(len(tcp))))
		transport = tcp
	case uint8(header.UDPProtocolNumber):
		udp := header.UDP(make([]byte, header.UDPMinimumSize+4))
		udp.Encode(&header.UDPFields{SrcPort: sport, DstPort: dport, Length: uint16(len(udp))})
		udp.SetChecksum(^checksum.Checksum(udp, pseudo(len(udp))))
		transport = udp
	case uint8(header.ICMPv4ProtocolNumber):
		transport = make([]byte, 16)
		binary.BigEndian.PutUint16(transport[4:], sport)
		if src.Is4() {
			header.ICMPv4(transport).SetType(header.ICMPv4Echo)
			header.ICMPv4(transport).SetChecksum(^checksum.Checksum(transport, 0))
			break
		}
		number = uint8(header.ICMPv6ProtocolNumber)
		header.ICMPv6(transport).SetType(header.ICMPv6EchoRequest)
		header.ICMPv6(transport).SetChecksum(^checksum.Checksum(transport, pseudo(len(transport))))
	default:
		transport = make([]byte, 24)
		binary.BigEndian.PutUint16(transport, sport)
	}
	if src.Is4() {
		ip := header.IPv4(make([]byte, header.IPv4MinimumSize))
		ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(ip) + len(transport)), TTL: 64, Protocol: number, SrcAddr: tcpip.AddrFrom4(src.As4()), DstAddr: tcpip.AddrFrom4(dst.As4())})
		ip.SetChecksum(^ip.CalculateChecksum())
		return append(ip, transport...)
	}
	ip := header.IPv6(make([]byte, header.IPv6MinimumSize))
	ip.Encode(&header.IPv6Fields{PayloadLength: uint16(len(transport)), TransportProtocol: tcpip.TransportProtocolNumber(number), HopLimit: 64, SrcAddr: tcpip.AddrFrom16(src.As16()), DstAddr: tcpip.AddrFrom16(dst.As16())})
	return append(ip, transport...)
}

// TestKernelJudgesLikeTheFilter feeds the same policies and packets to the kernel, with real tables and real packets on a TUN,
// and to isolation.Filter, and compares the verdicts. Where the kernel's own checks come before any table it may pass less.
func TestKernelJudgesLikeTheFilter(t *testing.T) {
	netns.Require(t)
	const tunnel, uplink = "wl0", "up0"
	wire := netns.OpenTUN(t, tunnel, 1420, 10_000)
	outside := netns.OpenTUN(t, uplink, 1500, 10_000)
	defer wire.Close()
	defer outside.Close()
	netns.AddAddr(t, nil, tunnel, netip.MustParsePrefix("10.255.0.1/8"))
	netns.AddAddr(t, nil, tunnel, netip.MustParsePrefix("fd77::ffff/64"))
	netns.AddAddr(t, nil, uplink, netip.PrefixFrom(hosts[0], 24))
	netns.AddAddr(t, nil, uplink, netip.PrefixFrom(hosts[1], 64))
	netns.AddRoute(t, nil, uplink, netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{})
	netns.AddRoute(t, nil, uplink, netip.MustParsePrefix("::/0"), netip.Addr{})
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		require.NoError(t, os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0o644))
	}
	for _, name := range []string{"all", "default", tunnel, uplink} {
		require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", []byte("0"), 0o644))
	}
	conn, err := nft.Dial()
	require.NoError(t, err)
	defer conn.Close()
	inet, netdev := rules.Tables(tunnel)
	pool := []netip.Prefix{pool4, pool6}
	ownAddrs := append(slices.Clone(hosts), addrs("10.255.0.1", "fd77::ffff")...)
	port, passed, refused := uint16(1), 0, 0

	rapid.Check(t, func(t *rapid.T) {
		policy, subjects := genPolicy().Draw(t, "policy"), genSubjects(t)
		plan, err := isolation.Compile(policy, ownAddrs, pool)
		require.NoError(t, err)
		newFilter := func() *isolation.Filter {
			filter := isolation.NewFilter(isolation.Config{})
			filter.SetPlan(plan)
			for _, s := range subjects {
				_, err := filter.SetSubject(s)
				require.NoError(t, err)
			}
			return filter
		}
		filter := newFilter()
		compiled := rules.NewPolicy(plan)
		want := rules.Layout(rules.Config{Interface: tunnel, IFB: "none", IFBIndex: 1, Pool: pool, Policy: compiled})
		for _, s := range subjects {
			count := rules.Objects{CountUp: s.ID + "_u", CountDown: s.ID + "_d"}
			want[inet].Objects[count.CountUp], want[inet].Objects[count.CountDown] = nft.Object{}, nft.Object{}
			compiled.Elements(tunnel, rules.Peer{Subject: s, Objects: count}, func(at rules.Place, value nft.Value) {
				want[at.Table].Add(at.Set.Name, at.Key, value)
			})
		}
		b := &nft.Batch{}
		for _, table := range []nft.Table{inet, netdev} {
			have, err := conn.Read(table)
			require.NoError(t, err)
			_, err = nft.Diff(b, table, want[table], have)
			require.NoError(t, err)
		}
		require.NoError(t, conn.Commit(b))
		up := func(id string) uint64 {
			o, err := conn.Object(inet, id+"_u", false)
			require.NoError(t, err)
			return o.Packets
		}
		for range 40 {
			if len(subjects) == 0 {
				return
			}
			s := rapid.SampledFrom(subjects).Draw(t, "sender")
			src := rapid.SampledFrom(s.Addrs).Draw(t, "src")
			strict := rapid.IntRange(0, 5).Draw(t, "odd?") > 0
			targets := routable
			if !strict {
				targets = odd
			}
			targets = slices.DeleteFunc(slices.Clone(targets), func(a netip.Addr) bool { return a.Is4() != src.Is4() || a == src })
			dst := rapid.SampledFrom(targets).Draw(t, "dst")
			protocol := rapid.SampledFrom([]uint8{1, 6, 17, 50}).Draw(t, "protocol")
			if port++; port == 0 {
				port = 1
			}
			pkt := first(protocol, src, dst, port, rapid.SampledFrom([]uint16{1, 25, 26, 53, 80, 8080, 65535}).Draw(t, "port"))
			if protocol == 50 { // it has no ports: what went between these addresses before would be the same flow, to both
				filter = newFilter()
				_, err := flows.Forget([]netip.Addr{src})
				require.NoError(t, err)
			}
			ours := filter.CheckPacket(filter.Member(s.ID), pkt)
			before := up(s.ID)
			_, err := wire.Write(pkt)
			require.NoError(t, err)
			theirs := up(s.ID) > before
			for deadline := time.Now().Add(200 * time.Millisecond); ours.Allow && strict && !theirs && time.Now().Before(deadline); {
				theirs = up(s.ID) > before
			}
			if theirs {
				passed++
			} else {
				refused++
			}
			if theirs && !ours.Allow {
				t.Fatalf("the kernel passes what the filter refuses (%v): %s to %s, protocol %d", ours, src, dst, protocol)
			}
			if strict && ours.Allow && !theirs {
				t.Fatalf("the kernel refuses what the filter passes (%v): %s to %s, protocol %d", ours, src, dst, protocol)
			}
		}
	})
	t.Logf("%d packets passed, %d refused", passed, refused)
	require.Positive(t, passed)
	require.Positive(t, refused)
	cleanup := &nft.Batch{}
	cleanup.DeleteTable(inet)
	cleanup.DeleteTable(netdev)
	require.NoError(t, conn.Commit(cleanup))
}
