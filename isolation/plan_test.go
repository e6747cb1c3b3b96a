package isolation_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/isolation"
)

// TestVerdictsOfGeneratedPolicies holds compiled plans to the linear reference, for first packets of flows.
func TestVerdictsOfGeneratedPolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := reference{policy: genPolicy().Draw(t, "policy"), host: someHost(), pool: somePool(), ranges: ranges()}
		plan, err := isolation.Compile(ref.policy, ref.host, ref.pool)
		require.NoError(t, err)
		filter := isolation.NewFilter(isolation.Config{})
		filter.SetPlan(plan)
		from, to := genSubject(peerAddrs()).Draw(t, "from"), genSubject(peerAddrs()).Draw(t, "to")
		if from.ID == to.ID || slices.ContainsFunc(to.Addrs, func(a netip.Addr) bool { return slices.Contains(from.Addrs, a) }) {
			t.Skip("one subject")
		}
		sender, err := filter.SetSubject(from)
		require.NoError(t, err)
		receiver, err := filter.SetSubject(to)
		require.NoError(t, err)
		for range 20 {
			p := genPacket(t, from.Addrs, slices.Concat(to.Addrs, otherAddrs(), addrs("10.0.0.1", "::1")))
			p.more = false
			f := flow{from: from, dst: p.dst, protocol: isolation.Protocol(p.proto), port: p.dport}
			if p.proto == 58 {
				f.protocol = isolation.ICMP
			}
			var member *isolation.Member
			if slices.Contains(to.Addrs, p.dst) {
				f.to, member = &to, receiver
			}
			want := ref.judge(f)
			if p.offset > 0 {
				want = ref.judgeAnyPort(f)
			}
			info, raw := p.parse(t)
			got := filter.Check(sender, member, &info, raw)
			vague := p.offset > 0 && !want.Allow && got == isolation.Verdict{Reason: isolation.ReasonFragment}
			if got != want && !vague {
				t.Fatalf("%v: got %v, want %v", p, got, want)
			}
			filter.RemoveSubject(from.ID) // forgets flows and fragments
			sender, err = filter.SetSubject(from)
			require.NoError(t, err)
		}
	})
}

func TestPlanIsTheSameForTheSameInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := genPolicy().Draw(t, "policy")
		describe := func(p isolation.Policy) string {
			plan, err := isolation.Compile(p, someHost(), somePool())
			require.NoError(t, err)
			s := fmt.Sprintf("%v\n%v\n%v\n%v\n%v\n", plan, plan.Rules(), plan.Closures(), plan.Closed(), plan.Final())
			for _, id := range someIDs() {
				from, to := plan.Selects(isolation.Subject{ID: id, Account: "a", Labels: map[string]string{"k": "x"}, Addrs: addrs("10.0.0.3")})
				s += fmt.Sprintln(from, to)
			}
			return s
		}
		require.Equal(t, describe(policy), describe(policy.Clone()))
	})
}

// An executor that works from what a plan shows, by the steps in its documentation, comes to the reference's verdict.
func TestWhatPlansShowIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := reference{policy: genPolicy().Draw(t, "policy"), host: someHost(), pool: somePool(), ranges: ranges()}
		plan, err := isolation.Compile(ref.policy, ref.host, ref.pool)
		require.NoError(t, err)
		from, to := genSubject(peerAddrs()).Draw(t, "from"), genSubject(peerAddrs()).Draw(t, "to")
		for range 10 {
			f := flow{
				from:     from,
				dst:      rapid.SampledFrom(slices.Concat(to.Addrs, otherAddrs())).Draw(t, "dst"),
				protocol: rapid.SampledFrom([]isolation.Protocol{isolation.TCP, isolation.UDP, isolation.ICMP, 47}).Draw(t, "protocol"),
				port:     rapid.SampledFrom(somePorts()).Draw(t, "port"),
			}
			if slices.Contains(to.Addrs, f.dst) {
				f.to = &to
			}
			if got, want := execute(plan, f), ref.judge(f).Allow; got != want {
				t.Fatalf("%+v: got %t, want %t", f, got, want)
			}
		}
	})
}

// execute is an executor as one for nftables would be written.
func execute(plan *isolation.Plan, f flow) bool {
	final, closed := within(plan.Final(), f.dst), within(plan.Closed(), f.dst)
	if f.to == nil && (final || isolation.IsISATAP(f.dst)) {
		return false
	}
	from, _ := plan.Selects(f.from)
	var to []int
	if f.to != nil {
		_, to = plan.Selects(*f.to)
	}
	for i, rule := range plan.Rules() { // those that deny come first
		hasPorts := f.protocol == isolation.TCP || f.protocol == isolation.UDP
		service := (rule.Rule.Protocol == isolation.Any || rule.Rule.Protocol == f.protocol) && (rule.Ports == nil ||
			hasPorts && slices.ContainsFunc(rule.Ports, func(p isolation.PortRange) bool { return p.Contains(f.port) }))
		there := rule.AnyDestination || within(rule.Destinations, f.dst) || slices.Contains(to, i) ||
			rule.Rule.To.Internet && f.to == nil && !closed
		if service && there && slices.Contains(from, i) {
			return !rule.Deny
		}
	}
	return f.to == nil && !closed && (f.protocol != isolation.TCP || f.port != 25)
}

func TestClosedAndFinalAreDisjoint(t *testing.T) {
	plan, err := isolation.Compile(isolation.Policy{}, someHost(), somePool())
	require.NoError(t, err)
	ref := reference{host: someHost(), pool: somePool(), ranges: ranges()}
	for name, list := range map[string][]netip.Prefix{"closed": plan.Closed(), "final": plan.Final()} {
		t.Run(name, func(t *testing.T) {
			require.True(t, slices.IsSortedFunc(list, netip.Prefix.Compare))
			for i, p := range list[1:] {
				before := list[i]
				require.False(t, before.Overlaps(p), "%s and %s", before, p)
				sibling := before.Bits() == p.Bits() && before.Bits() > 0 &&
					netip.PrefixFrom(before.Addr(), before.Bits()-1).Masked().Contains(p.Addr())
				require.False(t, sibling, "%s and %s could be one", before, p)
			}
		})
	}
	for _, p := range slices.Concat(plan.Closed(), plan.Final()) {
		for _, a := range []netip.Addr{p.Addr().Prev(), p.Addr(), p.Addr().Next()} {
			if a.IsValid() {
				closure := ref.closure(a)
				require.Equal(t, closure != isolation.ReasonInternet, within(plan.Closed(), a), "%s", a)
				require.Equal(t, closure == isolation.ReasonEmbedded, within(plan.Final(), a), "%s", a)
			}
		}
	}
}

func TestPlannedRules(t *testing.T) {
	rule := isolation.Rule{
		Name:  "web",
		From:  isolation.Match{Accounts: []string{"a"}, Prefixes: prefixes("10.0.0.8/29", "fd00::/127")},
		To:    isolation.Match{Labels: map[string]string{"k": "x", "l": "y"}, Prefixes: prefixes("198.51.100.0/25", "198.51.100.0/24", "2001:db8::/32")},
		Ports: []isolation.PortRange{{First: 80, Last: 90}, {First: 91, Last: 91}, {First: 443, Last: 443}, {First: 1, Last: 65535}, {First: 7, Last: 9}},
	}
	narrow := isolation.Rule{Ports: []isolation.PortRange{{First: 93, Last: 93}, {First: 80, Last: 90}, {First: 85, Last: 87}, {First: 91, Last: 91}}}
	plan, err := isolation.Compile(isolation.Policy{Allow: []isolation.Rule{narrow}, Deny: []isolation.Rule{rule}}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []isolation.PlannedRule{
		{
			Deny: true, Rule: rule,
			Destinations: prefixes("198.51.100.0/24", "64:ff9b::c633:6400/120", "2001:db8::/32"),
			Ports:        []isolation.PortRange{{First: 1, Last: 65535}},
		},
		{Rule: narrow, AnyDestination: true, Ports: []isolation.PortRange{{First: 80, Last: 91}, {First: 93, Last: 93}}},
	}, plan.Rules())
	tests := map[string]struct {
		subject  isolation.Subject
		from, to []int
	}{
		"nobody":          {isolation.Subject{ID: "x", Addrs: addrs("10.0.0.2")}, []int{1}, nil},
		"account":         {isolation.Subject{Account: "a"}, []int{0, 1}, nil},
		"an address":      {isolation.Subject{Addrs: addrs("10.0.0.2", "fd00::1")}, []int{0, 1}, nil},
		"both labels":     {isolation.Subject{Labels: map[string]string{"k": "x", "l": "y", "m": ""}}, []int{1}, []int{0}},
		"one label":       {isolation.Subject{Labels: map[string]string{"k": "x"}}, []int{1}, nil},
		"another value":   {isolation.Subject{Labels: map[string]string{"k": "x", "l": "x"}}, []int{1}, nil},
		"peer as account": {isolation.Subject{ID: "a"}, []int{1}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			from, to := plan.Selects(test.subject)
			require.Equal(t, test.from, from)
			require.Equal(t, test.to, to)
		})
	}
}

// A plan owes nothing to the policy it was made of, nor to what it gives out.
func TestPlanSharesNothing(t *testing.T) {
	policy := allow(isolation.Rule{From: peers("alice"), To: to("127.0.0.0/8"), Ports: ports(80)})
	plan, err := isolation.Compile(policy, nil, nil)
	require.NoError(t, err)
	before := fmt.Sprint(plan.Rules(), plan.Closures())
	policy.Allow[0].From.Peers[0], policy.Allow[0].To.Prefixes[0] = "bob", prefix("::/0")
	policy.Allow[0].Ports[0] = isolation.Port(1)
	plan.Rules()[0] = isolation.PlannedRule{}
	plan.Closures()[0] = isolation.Closure{}
	require.Equal(t, before, fmt.Sprint(plan.Rules(), plan.Closures()))
}

func TestManyRulesCrossWords(t *testing.T) {
	for _, n := range []int{63, 64, 65, 200} {
		var policy isolation.Policy
		for i := range n {
			policy.Deny = append(policy.Deny, isolation.Rule{To: to(web4 + "/32"), Ports: ports(uint16(1000 + i))})
			policy.Allow = append(policy.Allow, isolation.Rule{To: to(gateway4 + "/32"), Ports: ports(uint16(1000 + i))})
		}
		l := newLab(t, isolation.Config{}, policy)
		for i := range n {
			l.refused(udp(alice4, web4, 1, uint16(1000+i)), isolation.ReasonDenied)
			l.passes(udp(alice4, gateway4, 1, uint16(1000+i)), isolation.ReasonAllowed)
		}
		l.passes(udp(alice4, web4, 1, uint16(1000+n)), isolation.ReasonInternet)
		l.refused(udp(alice4, gateway4, 1, uint16(1000+n)), isolation.ReasonHost)
	}
}
