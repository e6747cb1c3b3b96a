package isolation_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
)

// FuzzPolicyAndPacket reads a policy and a packet from anybody: nothing panics, a policy survives being written and read,
// and the verdict is the reference's.
func FuzzPolicyAndPacket(f *testing.F) {
	raw := func(p pkt) []byte { return p.bytes() }
	sent := udp(alice4, web4, 5000, 443)
	for _, policy := range []string{
		`{}`,
		`{"allow":[{"from":{"peers":["alice"]},"to":{"accounts":["b"]},"protocol":"tcp","ports":["22","8000-8080"]}]}`,
		`{"allow":[{}],"deny":[{"to":{"prefixes":["10.0.0.0/8","fd00::/8"]}},{"from":{"labels":{"k":"v"}},"protocol":"icmp"}]}`,
		`{"allow":[{"to":{"internet":true},"ports":["25"]}]}`,
	} {
		for _, b := range [][]byte{
			raw(tcp(alice4, bob4, 5000, 22, syn)), raw(sent), raw(tcp(alice6, web6, 5000, 25, syn)),
			raw(udp(alice6, bob6, 1, 2).fragment(1, 1480, true)), raw(icmp(alice4, web4, 3, 4, 0).about(udp(web4, alice4, 443, 5000))),
			raw(udp(alice6, "64:ff9b::a00:3", 1, 2)), raw(udp(web4, alice4, 443, 5000)), raw(icmp(web4, alice4, 3, 4, 0).about(sent)),
		} {
			f.Add([]byte(policy), b)
		}
	}
	alice := isolation.Subject{ID: "alice", Account: "a", Labels: map[string]string{"k": "v"}, Addrs: addrs(alice4, alice6)}
	bob := isolation.Subject{ID: "bob", Account: "b", Addrs: addrs(bob4, bob6)}
	ref := reference{host: someHost(), pool: somePool(), ranges: ranges()}
	f.Fuzz(func(t *testing.T, text, b []byte) {
		var policy, again isolation.Policy
		if json.Unmarshal(text, &policy) != nil {
			return
		}
		plan, err := isolation.Compile(policy, ref.host, ref.pool)
		require.Equal(t, policy.Validate() == nil, err == nil)
		if err != nil {
			require.ErrorIs(t, err, isolation.ErrPolicy)
			return
		}
		out, err := json.Marshal(policy)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &again))
		require.True(t, policy.Equal(again), "%s", out)

		var p packet.Info
		if p.Parse(b) != nil {
			return
		}
		filter := isolation.NewFilter(isolation.Config{})
		filter.SetPlan(plan)
		from, err := filter.SetSubject(alice)
		require.NoError(t, err)
		_, err = filter.SetSubject(bob)
		require.NoError(t, err)
		inward := filter.Check(nil, from, &p, b)
		require.False(t, inward.Allow && p.Dst != alice.Addrs[0] && p.Dst != alice.Addrs[1], "to another address")
		got := filter.Check(from, nil, &p, b)
		if p.IsICMPError() || p.Fragment {
			return // judged by more than itself
		}
		policyRef := ref
		policyRef.policy = policy
		want := expected(&policyRef, alice, bob, &p)
		require.Equal(t, want.String(), got.String())
	})
}

// expected is the reference's verdict for a packet of alice.
func expected(ref *reference, alice, bob isolation.Subject, p *packet.Info) isolation.Verdict {
	if p.Src != alice.Addrs[0] && p.Src != alice.Addrs[1] {
		return isolation.Verdict{Reason: isolation.ReasonSpoofed}
	}
	f := flow{from: alice, dst: p.Dst, protocol: isolation.Protocol(p.Proto), port: p.DstPort}
	if p.Version == 6 && (p.Proto == packet.ICMP || p.Proto == packet.ICMPv6) {
		f.protocol = map[uint8]isolation.Protocol{packet.ICMP: isolation.Protocol(packet.ICMPv6), packet.ICMPv6: isolation.ICMP}[p.Proto]
	}
	holds := func(s isolation.Subject, a netip.Addr) bool { return s.Addrs[0] == a || s.Addrs[1] == a }
	switch {
	case holds(alice, p.Dst):
		f.to = &alice
	case holds(bob, p.Dst):
		f.to = &bob
	}
	return ref.judge(f)
}
