package isolation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/isolation"
)

func (l *lab) wait(d time.Duration) { l.now = l.now.Add(d) }

func TestFlowsTimeOut(t *testing.T) {
	open := allow(isolation.Rule{From: peers("alice")})
	gre := func(src, dst string) pkt { return pkt{src: addr(src), dst: addr(dst), proto: 47} }
	tests := map[string]struct {
		begin []pkt // must pass
		reply pkt
		idle  time.Duration // how long the reply then passes
	}{
		"udp":          {[]pkt{udp(alice4, bob4, 1, 2)}, udp(bob4, alice4, 2, 1), 5 * time.Minute},
		"icmp":         {[]pkt{icmp(alice6, bob6, 8, 0, 1)}, icmp(bob6, alice6, 0, 0, 1), time.Minute},
		"other":        {[]pkt{gre(alice4, bob4)}, gre(bob4, alice4), 10 * time.Minute},
		"tcp opening":  {[]pkt{tcp(alice4, bob4, 1, 2, syn)}, tcp(bob4, alice4, 2, 1, syn|ack), 4 * time.Minute},
		"tcp answered": {[]pkt{tcp(alice4, bob4, 1, 2, syn), tcp(bob4, alice4, 2, 1, syn|ack)}, tcp(bob4, alice4, 2, 1, ack), 124 * time.Minute},
		"tcp half closed": {
			[]pkt{tcp(alice4, bob4, 1, 2, syn), tcp(bob4, alice4, 2, 1, syn|ack), tcp(bob4, alice4, 2, 1, fin|ack)},
			tcp(bob4, alice4, 2, 1, ack), 124 * time.Minute,
		},
		"tcp closed": {
			[]pkt{tcp(alice4, bob4, 1, 2, ack), tcp(bob4, alice4, 2, 1, fin|ack), tcp(alice4, bob4, 1, 2, fin|ack)},
			tcp(bob4, alice4, 2, 1, ack), 4 * time.Minute,
		},
		"tcp reset": {
			[]pkt{tcp(alice4, bob4, 1, 2, syn), tcp(bob4, alice4, 2, 1, rst|ack)},
			tcp(bob4, alice4, 2, 1, ack), 4 * time.Minute,
		},
		"tcp opened again": {
			[]pkt{tcp(alice4, bob4, 1, 2, ack), tcp(bob4, alice4, 2, 1, rst), tcp(alice4, bob4, 1, 2, syn), tcp(bob4, alice4, 2, 1, syn|ack)},
			tcp(bob4, alice4, 2, 1, ack), 124 * time.Minute,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, late := range []bool{false, true} {
				l := newLab(t, isolation.Config{}, open)
				for _, p := range test.begin {
					require.True(t, l.check(p).Allow)
				}
				l.wait(test.idle)
				if late {
					l.wait(1)
					l.refused(test.reply, isolation.ReasonPeer)
					continue
				}
				l.passes(test.reply, isolation.ReasonReply)
			}
		})
	}
}

func TestPacketsKeepAFlowAlive(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{From: peers("alice")}))
	l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	for range 5 {
		l.wait(4 * time.Minute)
		l.passes(udp(bob4, alice4, 2, 1), isolation.ReasonReply)
		l.wait(4 * time.Minute)
		l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	}
	// A clock that is set back does no harm.
	l.wait(-time.Hour)
	l.passes(udp(bob4, alice4, 2, 1), isolation.ReasonReply)
}

func TestFlowsAreBoundedPerMember(t *testing.T) {
	l := newLab(t, isolation.Config{MaxFlows: 3}, allow(isolation.Rule{}))
	l.policy(allow(isolation.Rule{From: peers("alice")}, isolation.Rule{From: peers("bob"), To: peers("carol")}))
	l.passes(udp(bob4, carol4, 1, 1), isolation.ReasonAllowed)
	for port := range uint16(3) {
		l.wait(time.Second)
		l.passes(udp(alice4, bob4, port+1, 9), isolation.ReasonAllowed)
	}
	l.passes(udp(bob4, alice4, 9, 1), isolation.ReasonReply) // now flow 2 is the one idle longest
	l.passes(udp(alice4, bob4, 4, 9), isolation.ReasonAllowed)
	require.Equal(t, 3, l.alice.Flows())
	l.refused(udp(bob4, alice4, 9, 2), isolation.ReasonPeer)
	for _, port := range []uint16{1, 3, 4} {
		l.passes(udp(bob4, alice4, 9, port), isolation.ReasonReply)
	}
	for port := range uint16(1000) {
		l.passes(udp(alice4, bob4, port, 10), isolation.ReasonAllowed)
	}
	require.Equal(t, 3, l.alice.Flows())
	l.passes(udp(carol4, bob4, 1, 1), isolation.ReasonReply) // others' flows are untouched
}

func TestSweep(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{From: peers("alice")}))
	l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	l.passes(udp(alice4, bob4, 1, 3).fragment(1, 0, true), isolation.ReasonAllowed)
	l.passes(tcp(alice4, bob4, 1, 2, ack), isolation.ReasonAllowed)
	l.passes(tcp(bob4, alice4, 2, 1, ack), isolation.ReasonReply)
	require.Zero(t, l.filter.Sweep())
	l.wait(time.Minute)
	require.Equal(t, 1, l.filter.Sweep(), "the fragment")
	l.wait(10 * time.Minute)
	require.Equal(t, 2, l.filter.Sweep(), "UDP")
	require.Equal(t, 1, l.alice.Flows())
	l.passes(tcp(bob4, alice4, 2, 1, ack), isolation.ReasonReply)
	l.wait(3 * time.Hour)
	require.Equal(t, 1, l.filter.Sweep())
	require.Zero(t, l.alice.Flows())
	l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	l.passes(udp(bob4, alice4, 2, 1), isolation.ReasonReply)
}

func TestConfiguredTimeouts(t *testing.T) {
	config := isolation.Config{Timeouts: isolation.Timeouts{UDP: time.Second}}
	l := newLab(t, config, allow(isolation.Rule{From: peers("alice")}))
	l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	l.wait(time.Second + 1)
	l.refused(udp(bob4, alice4, 2, 1), isolation.ReasonPeer)
}

func TestFragments(t *testing.T) {
	dns := isolation.Rule{From: peers("alice"), To: peers("bob"), Protocol: isolation.UDP, Ports: ports(53)}
	for _, a := range []struct{ alice, bob, web string }{{alice4, bob4, web4}, {alice6, bob6, web6}} {
		l := newLab(t, isolation.Config{MaxFragments: 2}, allow(dns))
		first := func(id uint32) pkt { return udp(a.alice, a.bob, 5000, 53).fragment(id, 0, true) }
		later := func(id uint32) pkt { return udp(a.alice, a.bob, 0, 0).fragment(id, 1480, false) }

		l.refused(later(1), isolation.ReasonFragment)
		l.passes(first(1), isolation.ReasonAllowed)
		l.passes(later(1), isolation.ReasonAllowed)
		l.refused(later(2), isolation.ReasonFragment)

		// The answer is longer than a packet, too.
		l.passes(udp(a.bob, a.alice, 53, 5000).fragment(7, 0, true), isolation.ReasonReply)
		l.passes(udp(a.bob, a.alice, 0, 0).fragment(7, 1480, true), isolation.ReasonReply)
		l.passes(udp(a.bob, a.alice, 0, 0).fragment(7, 2960, false), isolation.ReasonReply)
		l.refused(udp(a.bob, a.alice, 0, 0).fragment(8, 1480, false), isolation.ReasonPeer)

		// A first fragment that does not pass lets no other pass, and its ports are not taken.
		l.refused(udp(a.alice, a.bob, 5000, 54).fragment(3, 0, true), isolation.ReasonPeer)
		l.refused(later(3), isolation.ReasonFragment)
		l.passes(first(4), isolation.ReasonAllowed)
		l.refused(udp(a.alice, a.bob, 5000, 54).fragment(4, 0, true), isolation.ReasonPeer)
		l.passes(later(4), isolation.ReasonAllowed)

		// What is remembered is bounded, times out, and is judged by the policy of the moment.
		l.passes(first(5), isolation.ReasonAllowed)
		l.refused(later(1), isolation.ReasonFragment)
		l.wait(30*time.Second + 1)
		l.refused(later(5), isolation.ReasonFragment)
		l.passes(first(6), isolation.ReasonAllowed)
		l.wait(20 * time.Second)
		l.passes(first(6), isolation.ReasonAllowed)
		l.wait(20 * time.Second)
		l.passes(later(6), isolation.ReasonAllowed)
		l.policy(isolation.Policy{})
		l.refused(later(6), isolation.ReasonPeer)

		// To and from the internet: UDP needs no port, TCP does because of port 25.
		l.passes(udp(a.alice, a.web, 0, 0).fragment(9, 1480, false), isolation.ReasonInternet)
		l.passes(udp(a.web, a.alice, 0, 0).fragment(9, 1480, false), isolation.ReasonReply)
		l.refused(tcp(a.alice, a.web, 0, 0, 0).fragment(9, 1480, false), isolation.ReasonFragment)
		l.passes(tcp(a.alice, a.web, 1, 443, ack).fragment(9, 0, true), isolation.ReasonInternet)
		l.passes(tcp(a.alice, a.web, 0, 0, 0).fragment(9, 1480, false), isolation.ReasonInternet)
		l.refused(tcp(a.web, a.alice, 0, 0, 0).fragment(9, 1480, false), isolation.ReasonFragment)
		l.passes(tcp(a.web, a.alice, 443, 1, ack).fragment(9, 0, true), isolation.ReasonReply)
		l.passes(tcp(a.web, a.alice, 0, 0, 0).fragment(9, 1480, false), isolation.ReasonReply)
		l.refused(tcp(a.alice, a.web, 1, 25, ack).fragment(10, 0, true), isolation.ReasonSMTP)
		l.refused(tcp(a.alice, a.web, 0, 0, 0).fragment(10, 1480, false), isolation.ReasonFragment)
		l.passes(icmp(a.alice, a.web, 8, 0, 1).fragment(11, 1480, false), isolation.ReasonInternet)
		l.refused(icmp(a.web, a.alice, 0, 0, 1).fragment(11, 1480, false), isolation.ReasonFragment)
		l.passes(icmp(a.web, a.alice, 0, 0, 1).fragment(11, 0, true), isolation.ReasonReply)
		l.passes(icmp(a.web, a.alice, 0, 0, 1).fragment(11, 1480, false), isolation.ReasonReply)
	}
}

func TestFragmentsUnderRulesWithPorts(t *testing.T) {
	later := func(protocol uint8) pkt {
		return pkt{src: addr(alice4), dst: addr(web4), proto: protocol}.fragment(1, 1480, false)
	}
	web := to(web4 + "/32")
	tests := map[string]struct {
		policy   isolation.Policy
		tcp, udp isolation.Reason
	}{
		"deny a port":         {isolation.Policy{Deny: []isolation.Rule{{To: web, Ports: ports(80)}}}, isolation.ReasonFragment, isolation.ReasonFragment},
		"deny a tcp port":     {isolation.Policy{Deny: []isolation.Rule{{To: web, Ports: ports(80), Protocol: isolation.TCP}}}, isolation.ReasonFragment, isolation.ReasonInternet},
		"deny all and a port": {isolation.Policy{Deny: []isolation.Rule{{To: web}, {To: web, Ports: ports(80)}}}, isolation.ReasonDenied, isolation.ReasonDenied},
		"allow a port":        {allow(isolation.Rule{To: web, Ports: ports(80)}), isolation.ReasonFragment, isolation.ReasonInternet},
		"allow all":           {allow(isolation.Rule{To: web}), isolation.ReasonAllowed, isolation.ReasonAllowed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, isolation.Config{}, test.policy)
			require.Equal(t, test.tcp, l.check(later(6)).Reason)
			require.Equal(t, test.udp, l.check(later(17)).Reason)
		})
	}
}

func TestICMPErrorsFromOutside(t *testing.T) {
	noICMP := isolation.Policy{Deny: []isolation.Rule{{Protocol: isolation.ICMP}, {To: to("198.51.100.66/32")}}}
	for name, policy := range map[string]isolation.Policy{"default": {}, "ICMP denied": noICMP} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, isolation.Config{}, policy)
			sent := tcp(alice4, web4, 40000, 443, ack)
			for _, router := range []string{web4, gateway4, "192.168.1.1", "203.0.113.1"} {
				for _, kind := range []uint8{3, 11, 12} {
					l.passes(icmp(router, alice4, kind, 4, 0).about(sent), isolation.ReasonRelated)
				}
			}
			for kind := range uint8(4) {
				p := icmp("2001:db8::1", alice6, 3, 0, 0).about(udp(alice6, web6, 5000, 443))
				p.kind = kind + 1
				l.passes(p, isolation.ReasonRelated)
			}

			cut := icmp(web4, alice4, 3, 4, 0).about(sent)
			cut.corrupt = true
			noRaw := icmp(web4, alice4, 3, 4, 0).about(sent)
			noRaw.noRaw = true
			for what, p := range map[string]pkt{
				"no quote":          icmp(web4, alice4, 3, 4, 0),
				"quote cut":         cut,
				"no raw packet":     noRaw,
				"another's packet":  icmp(web4, alice4, 3, 4, 0).about(tcp(bob4, web4, 1, 443, ack)),
				"a received packet": icmp(web4, alice4, 3, 4, 0).about(tcp(web4, alice4, 443, 1, ack)),
				"a closed flow":     icmp(web4, alice4, 3, 4, 0).about(tcp(alice4, "192.168.1.1", 1, 443, ack)),
				"smtp":              icmp(web4, alice4, 3, 4, 0).about(tcp(alice4, web4, 1, 25, ack)),
				"an error":          icmp(web4, alice4, 3, 4, 0).about(icmp(alice4, web4, 3, 4, 0)),
				"other family":      icmp(web4, alice4, 3, 4, 0).about(udp(alice6, web6, 1, 443)),
				"a later fragment":  icmp(web4, alice4, 3, 4, 0).about(udp(alice4, web4, 1, 443).fragment(1, 1480, false)),
				"redirect":          icmp(web4, alice4, 5, 0, 0).about(sent),
				"a fragment":        icmp(web4, alice4, 3, 4, 0).about(sent).fragment(1, 0, true),
			} {
				require.Equal(t, isolation.ReasonUnsolicited, l.check(p).Reason, what)
			}
			if name == "ICMP denied" {
				l.refused(icmp(web4, alice4, 3, 4, 0).about(udp(alice4, "198.51.100.66", 1, 443)), isolation.ReasonUnsolicited)
			}
		})
	}
}

func TestICMPErrorsToOutside(t *testing.T) {
	l := newLab(t, isolation.Config{}, isolation.Policy{
		Allow: []isolation.Rule{{To: to(gateway4 + "/32"), Ports: ports(53)}},
		Deny:  []isolation.Rule{{From: peers("bob"), Protocol: isolation.ICMP}},
	})
	l.passes(icmp(alice4, gateway4, 3, 3, 0).about(udp(gateway4, alice4, 53, 4000)), isolation.ReasonRelated)
	l.refused(icmp(alice4, gateway4, 3, 3, 0).about(udp(gateway4, alice4, 54, 4000)), isolation.ReasonHost)
	l.refused(icmp(alice4, gateway4, 3, 3, 0).about(udp(gateway4, bob4, 53, 4000)), isolation.ReasonHost)
	l.passes(icmp(bob4, web4, 3, 3, 0).about(udp(web4, bob4, 443, 4000)), isolation.ReasonRelated)
	l.refused(icmp(bob4, web4, 3, 3, 0).about(udp(web4, alice4, 443, 4000)), isolation.ReasonDenied)
	l.refused(icmp(bob4, "127.0.0.1", 3, 3, 0).about(udp("127.0.0.1", bob4, 443, 4000)), isolation.ReasonDenied)
	l.passes(icmp(alice4, web4, 3, 3, 0), isolation.ReasonInternet)
}

func TestICMPErrorsBetweenPeers(t *testing.T) {
	rule := isolation.Rule{From: peers("alice"), To: peers("bob"), Protocol: isolation.UDP}
	for _, a := range []struct{ alice, bob, carol, node string }{
		{alice4, bob4, carol4, gateway4}, {alice6, bob6, carol6, "fd00::1"},
	} {
		l := newLab(t, isolation.Config{}, allow(rule))
		forth, back := udp(a.alice, a.bob, 4000, 53), udp(a.bob, a.alice, 53, 4000)
		l.refused(icmp(a.bob, a.alice, 3, 3, 0).about(forth), isolation.ReasonPeer)
		l.passes(forth, isolation.ReasonAllowed)
		l.passes(icmp(a.bob, a.alice, 3, 3, 0).about(forth), isolation.ReasonRelated)
		l.passes(icmp(a.alice, a.bob, 3, 3, 0).about(back), isolation.ReasonRelated)
		l.passes(icmp(a.node, a.alice, 3, 4, 0).about(forth), isolation.ReasonRelated)
		l.passes(icmp(a.node, a.bob, 3, 4, 0).about(back), isolation.ReasonRelated)
		l.refused(icmp(a.node, a.carol, 3, 4, 0).about(udp(a.carol, a.bob, 4000, 53)), isolation.ReasonUnsolicited)
		l.refused(icmp(a.carol, a.alice, 3, 3, 0).about(forth), isolation.ReasonPeer) // not carol's to speak of
		l.refused(icmp(a.bob, a.alice, 3, 3, 0).about(udp(a.alice, a.bob, 4001, 53)), isolation.ReasonPeer)
		l.refused(icmp(a.bob, a.alice, 8, 0, 1), isolation.ReasonPeer)
		l.policy(isolation.Policy{})
		l.refused(icmp(a.bob, a.alice, 3, 3, 0).about(forth), isolation.ReasonPeer)
		l.refused(icmp(a.node, a.alice, 3, 4, 0).about(forth), isolation.ReasonUnsolicited)
	}
}
