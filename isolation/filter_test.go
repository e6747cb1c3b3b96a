package isolation_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/isolation"
)

// lab is a filter with three peers: alice and bob of account a, carol of account c, all with the label of their name.
type lab struct {
	t                 testing.TB
	filter            *isolation.Filter
	now               time.Time
	alice, bob, carol *isolation.Member
}

const (
	alice4, bob4, carol4 = "10.0.0.2", "10.0.0.3", "10.0.0.4"
	alice6, bob6, carol6 = "fd00::2", "fd00::3", "fd00::4"
	web4, web6           = "198.51.100.80", "2001:db8::80"
	gateway4             = "10.0.0.1"
)

func newLab(t testing.TB, config isolation.Config, policy isolation.Policy) *lab {
	l := &lab{t: t, now: time.Unix(1_700_000_000, 0)}
	config.Now = func() time.Time { return l.now }
	l.filter = isolation.NewFilter(config)
	l.policy(policy)
	l.alice = l.subject("alice", "a", alice4, alice6)
	l.bob = l.subject("bob", "a", bob4, bob6)
	l.carol = l.subject("carol", "c", carol4, carol6)
	return l
}

func (l *lab) policy(policy isolation.Policy) {
	l.t.Helper()
	plan, err := isolation.Compile(policy, addrs(gateway4, "fd00::1", "203.0.113.9"), prefixes("10.0.0.0/8", "fd00::/64"))
	require.NoError(l.t, err)
	l.filter.SetPlan(plan)
}

func (l *lab) subject(id, account string, list ...string) *isolation.Member {
	l.t.Helper()
	m, err := l.filter.SetSubject(isolation.Subject{
		ID: id, Account: account, Labels: map[string]string{"name": id}, Addrs: addrs(list...),
	})
	require.NoError(l.t, err)
	return m
}

// check looks both members up, as a dataplane does.
func (l *lab) check(p pkt) isolation.Verdict {
	l.t.Helper()
	return l.checkFrom(l.filter.Lookup(p.src), p)
}

func (l *lab) checkFrom(from *isolation.Member, p pkt) isolation.Verdict {
	l.t.Helper()
	info, raw := p.parse(l.t)
	return l.filter.Check(from, l.filter.Lookup(p.dst), &info, raw)
}

func (l *lab) passes(p pkt, reason isolation.Reason) {
	l.t.Helper()
	require.Equal(l.t, isolation.Verdict{Allow: true, Reason: reason}.String(), l.check(p).String())
}

func (l *lab) refused(p pkt, reason isolation.Reason) {
	l.t.Helper()
	require.Equal(l.t, isolation.Verdict{Reason: reason}.String(), l.check(p).String())
}

func allow(rules ...isolation.Rule) isolation.Policy { return isolation.Policy{Allow: rules} }

func peers(ids ...string) isolation.Match { return isolation.Match{Peers: ids} }
func to(list ...string) isolation.Match   { return isolation.Match{Prefixes: prefixes(list...)} }
func ports(p ...uint16) (out []isolation.PortRange) {
	for _, port := range p {
		out = append(out, isolation.Port(port))
	}
	return out
}

func TestSpoofedSourcesNeverPass(t *testing.T) {
	open := allow(isolation.Rule{})
	for name, policy := range map[string]isolation.Policy{"default": {}, "all open": open} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, isolation.Config{}, policy)
			for _, src := range []string{bob4, gateway4, web4, "10.99.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.255"} {
				for _, dst := range []string{web4, carol4, gateway4} {
					require.Equal(t, isolation.ReasonSpoofed, l.checkFrom(l.alice, udp(src, dst, 1, 2)).Reason, "%s to %s", src, dst)
				}
			}
			for _, src := range []string{bob6, "::ffff:10.0.0.2", "::10.0.0.2", "2002:a00:2::1", "::", "fe80::1"} {
				require.Equal(t, isolation.ReasonSpoofed, l.checkFrom(l.alice, udp(src, web6, 1, 2)).Reason, src)
			}
			// From outside in a peer's name.
			require.Equal(t, isolation.ReasonSpoofed, l.checkFrom(nil, udp(bob4, alice4, 1, 2)).Reason)
		})
	}
}

func TestBothEndsMustBeThere(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{}))
	require.Equal(t, isolation.ReasonUnknown, l.checkFrom(nil, udp(web4, "198.51.100.1", 1, 2)).Reason)

	info, raw := udp(alice4, bob4, 1, 2).parse(t)
	require.Equal(t, isolation.ReasonMisrouted, l.filter.Check(l.alice, l.carol, &info, raw).Reason)
	require.True(t, l.filter.Check(l.alice, nil, &info, raw).Allow, "the receiver is found by its address")

	l.filter.RemoveSubject("bob")
	require.Equal(t, isolation.ReasonUnknown, l.filter.Check(l.alice, l.bob, &info, raw).Reason)
	info, raw = udp(bob4, alice4, 1, 2).parse(t)
	require.Equal(t, isolation.ReasonUnknown, l.filter.Check(l.bob, l.alice, &info, raw).Reason)
	l.filter.RemoveSubject("bob")
	require.Nil(t, l.filter.Member("bob"))

	// The zero Info names no address at all.
	info.Src, info.Dst = netip.Addr{}, netip.Addr{}
	require.False(t, l.filter.Check(l.alice, nil, &info, nil).Allow)
	require.False(t, l.filter.Check(nil, l.alice, &info, nil).Allow)
	info.Dst = addr(alice4)
	require.Equal(t, isolation.ReasonEmbedded, l.filter.Check(nil, l.alice, &info, nil).Reason)
}

func TestCheckPacket(t *testing.T) {
	l := newLab(t, isolation.Config{}, isolation.Policy{})
	good := udp(alice4, web4, 1, 2).bytes()
	require.Equal(t, isolation.Verdict{Allow: true, Reason: isolation.ReasonInternet}, l.filter.CheckPacket(l.alice, good))
	require.Equal(t, isolation.Verdict{Reason: isolation.ReasonPeer}, l.filter.CheckPacket(l.alice, udp(alice4, bob4, 1, 2).bytes()))
	for n := range good {
		require.Equal(t, isolation.Verdict{Reason: isolation.ReasonMalformed}, l.filter.CheckPacket(l.alice, good[:n]))
	}
}

func TestDefaultPolicyBetweenPeers(t *testing.T) {
	l := newLab(t, isolation.Config{}, isolation.Policy{})
	for _, p := range []pkt{
		tcp(alice4, bob4, 1, 22, syn), tcp(alice6, bob6, 1, 22, syn), tcp(alice4, bob4, 1, 22, ack),
		udp(alice4, carol4, 1, 53), udp(alice6, carol6, 1, 53),
		icmp(alice4, bob4, 8, 0, 1), icmp(alice6, bob6, 8, 0, 1), icmp(alice4, bob4, 0, 0, 1), icmp(alice6, bob6, 3, 4, 0),
		{src: addr(alice4), dst: addr(bob4), proto: 47},
		udp(alice4, bob4, 1, 2).fragment(7, 0, true), udp(alice4, bob4, 1, 2).fragment(7, 16, false),
		tcp(alice4, alice4, 1, 2, syn),
	} {
		l.refused(p, isolation.ReasonPeer)
	}
	require.Zero(t, l.alice.Flows(), "what is refused is not remembered")
}

func TestRepliesBetweenPeers(t *testing.T) {
	ssh := isolation.Rule{From: peers("alice"), To: peers("bob"), Protocol: isolation.TCP, Ports: ports(22)}
	dns := isolation.Rule{From: peers("alice"), To: peers("bob"), Protocol: isolation.UDP, Ports: ports(53)}
	ping := isolation.Rule{From: peers("alice"), To: peers("bob"), Protocol: isolation.ICMP}
	for _, a := range []struct{ alice, bob string }{{alice4, bob4}, {alice6, bob6}} {
		l := newLab(t, isolation.Config{}, allow(ssh, dns, ping))
		l.refused(tcp(a.bob, a.alice, 22, 40000, syn|ack), isolation.ReasonPeer)
		l.passes(tcp(a.alice, a.bob, 40000, 22, syn), isolation.ReasonAllowed)
		l.passes(tcp(a.bob, a.alice, 22, 40000, syn|ack), isolation.ReasonReply)
		l.passes(tcp(a.bob, a.alice, 22, 40000, ack), isolation.ReasonReply)
		l.refused(tcp(a.bob, a.alice, 22, 40000, syn), isolation.ReasonPeer) // a reply opens nothing
		l.refused(tcp(a.bob, a.alice, 22, 40001, ack), isolation.ReasonPeer)
		l.refused(tcp(a.bob, a.alice, 23, 40000, ack), isolation.ReasonPeer)
		l.refused(udp(a.bob, a.alice, 22, 40000), isolation.ReasonPeer)

		l.passes(udp(a.alice, a.bob, 5000, 53), isolation.ReasonAllowed)
		l.passes(udp(a.bob, a.alice, 53, 5000), isolation.ReasonReply)

		l.passes(icmp(a.alice, a.bob, 8, 0, 9), isolation.ReasonAllowed)
		l.passes(icmp(a.bob, a.alice, 0, 0, 9), isolation.ReasonReply)
		l.refused(icmp(a.bob, a.alice, 0, 0, 8), isolation.ReasonPeer)
		l.refused(icmp(a.bob, a.alice, 8, 0, 9), isolation.ReasonPeer)
	}
}

// What can only be an answer begins nothing that could be answered in turn.
func TestAnswersBeginNothing(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{From: peers("bob"), To: peers("alice")}))
	l.passes(tcp(bob4, alice4, 22, 40000, syn|ack), isolation.ReasonAllowed)
	l.passes(tcp(bob4, alice4, 22, 40000, rst|ack), isolation.ReasonAllowed)
	l.passes(icmp(bob4, alice4, 0, 0, 1), isolation.ReasonAllowed)
	require.Zero(t, l.bob.Flows())
	l.refused(tcp(alice4, bob4, 40000, 22, ack), isolation.ReasonPeer)
	l.refused(icmp(alice4, bob4, 0, 0, 1), isolation.ReasonPeer)
	l.passes(tcp(bob4, alice4, 22, 40000, ack), isolation.ReasonAllowed)
	l.passes(tcp(alice4, bob4, 40000, 22, ack), isolation.ReasonReply)
}

// The number of one family's ICMP means nothing in the other, and is not taken for ICMP.
func TestICMPOfTheOtherFamilyIsNone(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{Protocol: isolation.ICMP}))
	for _, kind := range []uint8{1, 3, 8, 128} {
		l.refused(pkt{src: addr(alice6), dst: addr(bob6), proto: 1, kind: kind}, isolation.ReasonPeer)
		l.refused(pkt{src: addr(alice4), dst: addr(bob4), proto: 58, kind: kind}, isolation.ReasonPeer)
	}
	l.passes(icmp(alice6, bob6, 8, 0, 1), isolation.ReasonAllowed)
	l.passes(icmp(alice4, bob4, 8, 0, 1), isolation.ReasonAllowed)
}

// A flow belongs to the peers that had it, not to whoever gets the address next.
func TestRepliesComeFromTheSamePeer(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{From: peers("alice")}))
	l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	l.passes(udp(alice4, bob4, 3, 4), isolation.ReasonAllowed)
	l.filter.RemoveSubject("bob")
	l.subject("mallory", "m", bob4)
	l.refused(udp(bob4, alice4, 2, 1), isolation.ReasonPeer)
	l.passes(udp(alice4, bob4, 1, 2), isolation.ReasonAllowed)
	l.passes(udp(bob4, alice4, 2, 1), isolation.ReasonReply)
	// Nor does the flow of old keep mallory from one of her own.
	l.policy(allow(isolation.Rule{From: peers("mallory")}))
	l.passes(udp(bob4, alice4, 4, 3), isolation.ReasonAllowed)
	l.passes(udp(alice4, bob4, 3, 4), isolation.ReasonReply)
}

func TestWithdrawnRuleStopsAtTheNextPacket(t *testing.T) {
	there := isolation.Rule{From: peers("alice"), To: peers("bob"), Ports: ports(22)}
	back := isolation.Rule{From: peers("bob"), To: peers("alice")}
	forth, reply := tcp(alice4, bob4, 40000, 22, ack), tcp(bob4, alice4, 22, 40000, ack)

	l := newLab(t, isolation.Config{}, allow(there))
	l.passes(forth, isolation.ReasonAllowed)
	l.passes(reply, isolation.ReasonReply)
	l.policy(isolation.Policy{})
	l.refused(forth, isolation.ReasonPeer)
	l.refused(reply, isolation.ReasonPeer)
	l.policy(isolation.Policy{Allow: []isolation.Rule{there}, Deny: []isolation.Rule{{To: to(bob4 + "/32")}}})
	l.refused(forth, isolation.ReasonDenied)
	l.refused(reply, isolation.ReasonPeer)
	l.policy(allow(there))
	l.passes(reply, isolation.ReasonReply)

	// Bob may speak to alice, but that does not keep her flow to him alive.
	l.policy(allow(back))
	l.passes(reply, isolation.ReasonAllowed)
	l.refused(forth, isolation.ReasonPeer)
	// A connection that bob opens himself is one of his own.
	l.passes(tcp(bob4, alice4, 22, 40000, syn), isolation.ReasonAllowed)
	l.passes(tcp(alice4, bob4, 40000, 22, syn|ack), isolation.ReasonReply)

	// A subject that no longer matches the rule is a withdrawal too.
	labelled := isolation.Rule{From: isolation.Match{Labels: map[string]string{"name": "alice"}}, To: peers("carol")}
	l.policy(allow(labelled))
	l.passes(udp(alice6, carol6, 1, 2), isolation.ReasonAllowed)
	l.passes(udp(carol6, alice6, 2, 1), isolation.ReasonReply)
	_, err := l.filter.SetSubject(isolation.Subject{ID: "alice", Account: "a", Addrs: addrs(alice4, alice6)})
	require.NoError(t, err)
	l.refused(udp(carol6, alice6, 2, 1), isolation.ReasonPeer)
	l.refused(udp(alice6, carol6, 1, 2), isolation.ReasonPeer)
}

func TestWithdrawnInternetStopsBothWays(t *testing.T) {
	l := newLab(t, isolation.Config{}, isolation.Policy{})
	l.passes(tcp(alice4, web4, 40000, 443, ack), isolation.ReasonInternet)
	l.passes(tcp(web4, alice4, 443, 40000, ack), isolation.ReasonReply)
	l.policy(isolation.Policy{Deny: []isolation.Rule{{From: peers("alice"), To: to(web4 + "/32"), Protocol: isolation.TCP}}})
	l.refused(tcp(alice4, web4, 40000, 443, ack), isolation.ReasonDenied)
	l.refused(tcp(web4, alice4, 443, 40000, ack), isolation.ReasonDenied)
	l.passes(udp(alice4, web4, 40000, 443), isolation.ReasonInternet)
	l.passes(tcp(bob4, web4, 40000, 443, ack), isolation.ReasonInternet)
}

func TestFromOutside(t *testing.T) {
	l := newLab(t, isolation.Config{}, isolation.Policy{})
	for _, a := range []struct{ alice, web string }{{alice4, web4}, {alice6, web6}} {
		l.passes(tcp(a.web, a.alice, 443, 40000, syn|ack), isolation.ReasonReply)
		l.passes(tcp(a.web, a.alice, 443, 40000, rst), isolation.ReasonReply)
		l.passes(udp(a.web, a.alice, 53, 40000), isolation.ReasonReply)
		l.passes(icmp(a.web, a.alice, 0, 0, 3), isolation.ReasonReply)
		l.refused(tcp(a.web, a.alice, 443, 40000, syn), isolation.ReasonUnsolicited)
		l.refused(icmp(a.web, a.alice, 8, 0, 3), isolation.ReasonUnsolicited)
		l.refused(tcp(a.web, a.alice, 25, 40000, ack), isolation.ReasonSMTP)
	}
	l.refused(icmp(web4, alice4, 5, 0, 0), isolation.ReasonUnsolicited) // redirect
	l.refused(udp(gateway4, alice4, 53, 40000), isolation.ReasonHost)
	l.refused(udp("192.168.1.1", alice4, 53, 40000), isolation.ReasonPrivate)
	l.refused(udp("10.200.0.1", alice4, 53, 40000), isolation.ReasonPool)
	l.policy(allow(isolation.Rule{To: to(gateway4 + "/32"), Ports: ports(53)}))
	l.passes(udp(gateway4, alice4, 53, 40000), isolation.ReasonReply)
	l.passes(udp(alice4, gateway4, 40000, 53), isolation.ReasonAllowed)
	l.refused(udp(gateway4, alice4, 54, 40000), isolation.ReasonHost)
}

// A packet may see one policy or the other, and never the half of each that would let it pass.
func TestPlansChangeWhole(t *testing.T) {
	l := newLab(t, isolation.Config{}, isolation.Policy{})
	var plans []*isolation.Plan
	for _, rule := range []isolation.Rule{
		{From: peers("alice"), To: peers("carol")},
		{From: peers("carol"), To: peers("bob")},
	} {
		plan, err := isolation.Compile(allow(rule), nil, nil)
		require.NoError(t, err)
		plans = append(plans, plan)
	}
	forbidden, raw := udp(alice4, bob4, 1, 2).parse(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	passed := make(chan isolation.Verdict, 2)
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if v := l.filter.Check(l.alice, l.bob, &forbidden, raw); v.Allow {
					passed <- v
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 300 {
			_, err := l.filter.SetSubject(isolation.Subject{
				ID: "bob", Account: []string{"a", "b"}[i%2], Addrs: addrs(bob4),
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	there, raw2 := udp(alice4, carol4, 1, 2).parse(t)
	for i := range 2000 {
		l.filter.SetPlan(plans[i%2])
		if got := l.filter.Check(l.alice, l.carol, &there, raw2).Allow; got != (i%2 == 0) {
			t.Errorf("plan %d is not in force after SetPlan", i%2)
			break
		}
	}
	close(stop)
	wg.Wait()
	require.Empty(t, passed)
}
