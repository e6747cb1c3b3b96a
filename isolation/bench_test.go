package isolation_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
)

// nth4 is the nth address of 10.0.0.0/8 that a peer may have.
func nth4(n int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24+uint32(n)+2)
	return netip.AddrFrom4(b)
}

// crowd makes a filter with so many peers and so many rules, each with a prefix of its own, and none of which matches
// the packets of a benchmark but the first, by which peer 0 may reach peer 1.
func crowd(tb testing.TB, peerCount, rules int) *isolation.Filter {
	policy := allow(isolation.Rule{From: peers("0"), To: peers("1")})
	for i := range rules - 1 {
		b := [4]byte{20, byte(i >> 8), byte(i), 0}
		rule := isolation.Rule{
			From:  isolation.Match{Accounts: []string{fmt.Sprint("account", i)}},
			To:    isolation.Match{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(b), 24)}},
			Ports: []isolation.PortRange{{First: uint16(1000 + i), Last: uint16(2000 + i)}},
		}
		if i%2 == 0 {
			policy.Allow = append(policy.Allow, rule)
		} else {
			policy.Deny = append(policy.Deny, rule)
		}
	}
	plan, err := isolation.Compile(policy, addrs("10.0.0.1", "203.0.113.9"), prefixes("10.0.0.0/8", "fd00::/64"))
	require.NoError(tb, err)
	filter := isolation.NewFilter(isolation.Config{})
	filter.SetPlan(plan)
	for i := range peerCount {
		six := addr("fd00::").As16()
		binary.BigEndian.PutUint32(six[12:], uint32(i)+2)
		_, err := filter.SetSubject(isolation.Subject{
			ID: fmt.Sprint(i), Account: fmt.Sprint("account", i%100), Addrs: []netip.Addr{nth4(i), netip.AddrFrom16(six)},
		})
		require.NoError(tb, err)
	}
	return filter
}

func benchPackets() map[string]pkt {
	zero, one := nth4(0).String(), nth4(1).String()
	return map[string]pkt{
		"internet":  tcp(zero, web4, 5000, 443, ack),
		"internet6": udp("fd00::2", web6, 5000, 443),
		"inward":    tcp(web4, zero, 443, 5000, ack),
		"host":      tcp(zero, "127.0.0.1", 5000, 443, syn),
		"peer":      tcp(one, zero, 5000, 443, ack),
		"to peer":   udp(zero, one, 5000, 443),
		"reply":     udp(one, zero, 443, 5000),
		"fragment":  udp(zero, web4, 0, 0).fragment(1, 1480, false),
		"error":     icmp(web4, zero, 3, 4, 0).about(tcp(zero, web4, 5000, 443, ack)),
	}
}

type benchPacket struct {
	from *isolation.Member
	info packet.Info
	raw  []byte
}

func prepare(tb testing.TB, filter *isolation.Filter, p pkt) benchPacket {
	info, raw := p.parse(tb)
	return benchPacket{filter.Lookup(p.src), info, raw}
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	filter := crowd(t, 100, 100)
	all := benchPackets()
	for _, name := range []string{"internet", "internet6", "inward", "host", "peer", "to peer", "reply", "fragment", "error"} {
		b := prepare(t, filter, all[name])
		require.Zero(t, testing.AllocsPerRun(100, func() {
			filter.Check(b.from, filter.Lookup(b.info.Dst), &b.info, b.raw)
			filter.CheckPacket(b.from, b.raw)
		}), name)
	}
	// Nor for new flows, once a table is at its bound.
	b := prepare(t, filter, all["to peer"])
	begin := func() {
		b.info.SrcPort++
		filter.Check(b.from, nil, &b.info, b.raw)
	}
	for range 3 * isolation.DefaultMaxFlows {
		begin()
	}
	require.Zero(t, testing.AllocsPerRun(10_000, begin))
}

func BenchmarkCheckPeers(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		filter := crowd(b, n, 10)
		for _, name := range []string{"internet", "internet6", "inward", "host", "peer", "to peer", "reply", "fragment", "error"} {
			b.Run(fmt.Sprintf("%s/peers=%d", name, n), func(b *testing.B) { benchCheck(b, filter, benchPackets()[name]) })
		}
	}
}

func BenchmarkCheckRules(b *testing.B) {
	for _, n := range []int{10, 1_000} {
		filter := crowd(b, 100, n)
		for _, name := range []string{"internet", "peer", "reply"} {
			b.Run(fmt.Sprintf("%s/rules=%d", name, n), func(b *testing.B) { benchCheck(b, filter, benchPackets()[name]) })
		}
	}
}

func benchCheck(b *testing.B, filter *isolation.Filter, p pkt) {
	first := prepare(b, filter, benchPackets()["to peer"]) // what "reply" answers
	filter.Check(first.from, nil, &first.info, first.raw)
	x := prepare(b, filter, p)
	b.ReportAllocs()
	for b.Loop() {
		filter.Check(x.from, filter.Lookup(x.info.Dst), &x.info, x.raw)
	}
}

// Every worker checks packets of a peer of its own.
func BenchmarkCheckParallel(b *testing.B) {
	filter := crowd(b, 1000, 10)
	var workers atomic.Int32
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		x := prepare(b, filter, tcp(nth4(int(workers.Add(1))).String(), web4, 5000, 443, ack))
		for pb.Next() {
			filter.Check(x.from, nil, &x.info, x.raw)
		}
	})
}

func BenchmarkSetSubject(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		for _, rules := range []int{10, 1_000} {
			b.Run(fmt.Sprintf("peers=%d/rules=%d", n, rules), func(b *testing.B) {
				filter := crowd(b, n, rules)
				s := isolation.Subject{ID: "new", Account: "account7", Addrs: []netip.Addr{nth4(20_000)}}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := filter.SetSubject(s); err != nil {
						b.Fatal(err)
					}
					filter.RemoveSubject(s.ID)
				}
			})
		}
	}
}

func BenchmarkSetPlan(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			filter := crowd(b, n, 10)
			plan, err := isolation.Compile(allow(isolation.Rule{From: peers("0")}), nil, nil)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				filter.SetPlan(plan)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			var policy isolation.Policy
			for i := range n {
				four := [4]byte{20, byte(i >> 8), byte(i), 0}
				policy.Allow = append(policy.Allow, isolation.Rule{
					To:    isolation.Match{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(four), 24)}},
					Ports: ports(uint16(i + 1)),
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := isolation.Compile(policy, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
