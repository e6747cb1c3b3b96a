package isolation_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/isolation"
)

func TestValidateNamesEveryProblem(t *testing.T) {
	long := strings.Repeat("x", isolation.MaxName+1)
	policy := isolation.Policy{
		Allow: []isolation.Rule{
			{},
			{
				Name: "all wrong",
				From: isolation.Match{Peers: []string{}, Accounts: []string{"", long}, Internet: true, Prefixes: prefixes("10.0.0.1/8")},
				To: isolation.Match{
					Labels: map[string]string{"": "", "k": long, "\xff": "x"}, Prefixes: append(prefixes("::ffff:10.0.0.0/104"), netip.Prefix{}),
				},
				Protocol: 58,
				Ports:    []isolation.PortRange{{First: 0, Last: 1}, {First: 2, Last: 1}},
			},
		},
		Deny: []isolation.Rule{
			{Name: long, From: isolation.Match{Labels: map[string]string{}}, To: isolation.Match{Prefixes: []netip.Prefix{}}, Ports: []isolation.PortRange{}},
			{Protocol: isolation.ICMP, Ports: ports(1)},
		},
	}
	err := policy.Validate()
	require.ErrorIs(t, err, isolation.ErrPolicy)
	var problems *isolation.PolicyError
	require.ErrorAs(t, err, &problems)
	want := []string{
		`allow[1] "all wrong": from: peers: the list is empty`,
		`allow[1] "all wrong": from: accounts: a name is empty`,
		`... is longer than 256 bytes`,
		`from: prefixes: 10.0.0.1/8 has bits set past its length: write 10.0.0.0/8`,
		`to: labels: key a name is empty`,
		`to: labels: value of "k"`,
		`to: labels: key "\xff" is not UTF-8`,
		`to: prefixes: ::ffff:10.0.0.0/104 is IPv4-mapped: write it as IPv4`,
		`to: prefixes: a prefix is not valid`,
		`from: internet has no meaning here`,
		`protocol: 58 is ICMPv6: use icmp`,
		`ports: protocol 58 has none`,
		`ports: 0-1: ports start at 1`,
		`ports: 2-1: the first port is above the last`,
		`deny[0] "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": name: at most 256 bytes`,
		`from: labels: the list is empty`,
		`to: prefixes: the list is empty`,
		`ports: the list is empty: leave it out for every port`,
		`deny[1]: ports: protocol icmp has none`,
	}
	for _, w := range want {
		require.ErrorContains(t, err, w)
	}
	require.Len(t, problems.Problems, len(want), "%q", problems.Problems)

	_, err = isolation.Compile(policy, addrs("0.0.0.0"), append(prefixes("2002:a00::/32", "::ffff:0:0/104"), netip.Prefix{}))
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems.Problems, len(want)+4, "%q", problems.Problems)
	require.ErrorContains(t, err, "host: 0.0.0.0 is not an address")
	require.ErrorContains(t, err, "pool: 2002:a00::/32 is inside 2002::/16, to which no packet passes: use another range")
}

func TestPoliciesAreBounded(t *testing.T) {
	rules := func(n int) []isolation.Rule { return make([]isolation.Rule, n) }
	require.NoError(t, isolation.Policy{Allow: rules(isolation.MaxRules)}.Validate())
	require.ErrorContains(t, isolation.Policy{Allow: rules(isolation.MaxRules), Deny: rules(1)}.Validate(), "4097 rules")

	many := make([]netip.Prefix, isolation.MaxPrefixes+1)
	for i := range many {
		many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	half := isolation.MaxPrefixes / 2
	split := isolation.Rule{From: isolation.Match{Prefixes: many[:half]}, To: isolation.Match{Prefixes: many[:half]}}
	require.NoError(t, allow(split).Validate())
	split.To.Prefixes = many[:half+1]
	require.ErrorContains(t, allow(split).Validate(), "65537 prefixes")

	list := make([]isolation.PortRange, isolation.MaxPorts+1)
	for i := range list {
		list[i] = isolation.Port(uint16(i + 1))
	}
	require.ErrorContains(t, allow(isolation.Rule{Ports: list}).Validate(), "257 ranges")
	labels := map[string]string{}
	for i := range isolation.MaxLabels + 1 {
		labels[fmt.Sprint(i)] = "x"
	}
	require.ErrorContains(t, allow(isolation.Rule{To: isolation.Match{Labels: labels}}).Validate(), "65 labels")

	// The error about a policy that is wrong all over is bounded, too.
	bad := rules(1000)
	for i := range bad {
		bad[i].Protocol = 58
	}
	require.Less(t, len(isolation.Policy{Deny: bad}.Validate().Error()), 10_000)
}

func TestSubjectsAreValidated(t *testing.T) {
	filter := isolation.NewFilter(isolation.Config{})
	_, err := filter.SetSubject(isolation.Subject{
		Account: strings.Repeat("x", 300),
		Labels:  map[string]string{"": "x"},
		Addrs: append(addrs("10.0.0.2", "10.0.0.2", "::ffff:10.0.0.2", "fe80::1%eth0", "0.0.0.0", "224.0.0.1", "127.0.0.1"),
			netip.Addr{}),
	})
	require.ErrorIs(t, err, isolation.ErrSubject)
	var problems *isolation.SubjectError
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems.Problems, 10, "%q", problems.Problems)
	_, err = filter.SetSubject(isolation.Subject{ID: strings.Repeat("x", 257)})
	require.ErrorContains(t, err, "give the peer at least one")
	require.Less(t, len(err.Error()), 300)

	m, err := filter.SetSubject(isolation.Subject{ID: "a", Addrs: addrs("10.0.0.2")})
	require.NoError(t, err)
	_, err = filter.SetSubject(isolation.Subject{ID: "b", Addrs: addrs("10.0.0.3", "10.0.0.2")})
	require.ErrorIs(t, err, isolation.ErrAddressInUse)
	require.EqualError(t, err, `isolation: subject "b": address 10.0.0.2 belongs to subject "a": remove it there first`)
	require.Nil(t, filter.Member("b"))
	require.Nil(t, filter.Lookup(addr("10.0.0.3")), "nothing has changed")
	require.Same(t, m, filter.Lookup(addr("10.0.0.2")))

	_, err = filter.SetSubjects(isolation.Subject{ID: "c", Addrs: addrs("10.0.0.3")}, isolation.Subject{ID: "c", Addrs: addrs("10.0.0.4")})
	require.ErrorIs(t, err, isolation.ErrSubject)
	require.EqualError(t, err, `isolation: subject "c": it stands there twice: leave one out`)
	require.Nil(t, filter.Member("c"))
}

// What a filter is told of a subject is its own.
func TestSubjectIsCopied(t *testing.T) {
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{From: isolation.Match{Labels: map[string]string{"role": "admin"}}}))
	s := isolation.Subject{ID: "dave", Labels: map[string]string{"role": "user"}, Addrs: addrs("10.0.0.9")}
	_, err := l.filter.SetSubject(s)
	require.NoError(t, err)
	s.Labels["role"], s.Addrs[0] = "admin", addr("10.0.0.10")
	l.policy(allow(isolation.Rule{From: isolation.Match{Labels: map[string]string{"role": "admin"}}}))
	l.refused(udp("10.0.0.9", alice4, 1, 2), isolation.ReasonPeer)
}

func TestPolicyJSON(t *testing.T) {
	text := `{
		"allow": [{"name": "dns", "from": {"accounts": ["a"], "labels": {"A": "1", "a": ""}}, "to": {"prefixes": ["10.0.0.1/32"]},
		           "protocol": "udp", "ports": ["53", "8000-8080"]},
		          {"protocol": "47", "to": {"internet": true}}, {}],
		"deny": [{"to": {"peers": ["x"], "prefixes": ["2001:db8::/32"]}, "protocol": "ICMP"}]
	}`
	var got isolation.Policy
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	want := isolation.Policy{
		Allow: []isolation.Rule{
			{
				Name:     "dns",
				From:     isolation.Match{Accounts: []string{"a"}, Labels: map[string]string{"A": "1", "a": ""}},
				To:       to("10.0.0.1/32"),
				Protocol: isolation.UDP,
				Ports:    []isolation.PortRange{{First: 53, Last: 53}, {First: 8000, Last: 8080}},
			},
			{Protocol: 47, To: isolation.Match{Internet: true}},
			{},
		},
		Deny: []isolation.Rule{{To: isolation.Match{Peers: []string{"x"}, Prefixes: prefixes("2001:db8::/32")}, Protocol: isolation.ICMP}},
	}
	require.Equal(t, want, got)
	require.NoError(t, got.Validate())

	out, err := json.Marshal(want)
	require.NoError(t, err)
	require.JSONEq(t, strings.ReplaceAll(text, "ICMP", "icmp"), string(out))
	out, err = json.Marshal(isolation.Policy{})
	require.NoError(t, err)
	require.Equal(t, "{}", string(out))
}

func TestPolicyJSONRefusesWhatWidensARule(t *testing.T) {
	for text, want := range map[string]string{
		`null`:                                "null is refused",
		`[]`:                                  "cannot unmarshal array",
		`{"allow":[{"port":["25"]}]}`:         `unknown field "port"`,
		`{"permit":[]}`:                       `unknown field "permit"`,
		`{"allow":[{"from":{"peer":["a"]}}]}`: `unknown field "peer"`,
		`{"allow":[{"from":null}]}`:           "null is refused",
		`{"allow":[{"from":{"peers":null}}]}`: "null is refused",
		`{"allow":[{"from":{"labels":{"a":null}}}]}`:      "null is refused",
		`{"allow":[{"from":{"peers":["a"]},"from":{}}]}`:  `field "from" is there twice`,
		`{"allow":[{"from":{"peers":["a"]},"From":{}}]}`:  `field "from" is there twice`,
		`{"allow":[{"port\u017f":["1"],"ports":["2"]}]}`:  `field "ports" is there twice`,
		`{"allow":[{"to":{"labels":{"a":"1","a":"2"}}}]}`: `field "a" is there twice`,
		`{"deny":[],"deny":[]}`:                           `field "deny" is there twice`,
		`{"allow":[{"ports":["0"]}]}`:                     `ports "0": use a port from 1 to 65535`,
		`{"allow":[{"ports":["9-1"]}]}`:                   `ports "9-1"`,
		`{"allow":[{"ports":["1-2-3"]}]}`:                 `ports "1-2-3"`,
		`{"allow":[{"ports":["65536"]}]}`:                 `ports "65536"`,
		`{"allow":[{"ports":[53]}]}`:                      "cannot unmarshal number",
		`{"allow":[{"protocol":"sctp"}]}`:                 `protocol "sctp": use any, tcp, udp, icmp or a number`,
		`{"allow":[{"protocol":"58"}]}`:                   "58 is ICMPv6",
		`{"allow":[{"protocol":"0"}]}`:                    `protocol "0"`,
		`{"allow":[{"protocol":"256"}]}`:                  `protocol "256"`,
		`{"allow":[{"to":{"prefixes":["10.0.0.0"]}}]}`:    "10.0.0.0",
		`{"allow":[{"to":{"prefixes":["10.0.0.0/33"]}}]}`: "10.0.0.0/33",
	} {
		policy := allow(isolation.Rule{Name: "before"})
		err := json.Unmarshal([]byte(text), &policy)
		require.ErrorContains(t, err, want, text)
		require.Equal(t, allow(isolation.Rule{Name: "before"}), policy, "left alone")
	}
	// A rule or a match by itself is read with the same care.
	require.ErrorContains(t, json.Unmarshal([]byte(`{"port":["1"]}`), new(isolation.Rule)), "unknown field")
	require.ErrorContains(t, json.Unmarshal([]byte(`{"peers":null}`), new(isolation.Match)), "null is refused")
	require.ErrorContains(t, new(isolation.Policy).UnmarshalJSON([]byte(`{} {}`)), "data follows it")
	require.Error(t, new(isolation.Policy).UnmarshalJSON([]byte(`{"allow":`)))
	// A list that is present and empty survives being written and read, to be refused.
	out, err := json.Marshal(allow(isolation.Rule{From: isolation.Match{Peers: []string{}}}))
	require.NoError(t, err)
	var policy isolation.Policy
	require.NoError(t, json.Unmarshal(out, &policy))
	require.ErrorContains(t, policy.Validate(), "peers: the list is empty")
}

func TestPolicyJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genPolicy().Draw(t, "policy")
		out, err := json.Marshal(want)
		require.NoError(t, err)
		var got isolation.Policy
		require.NoError(t, json.Unmarshal(out, &got))
		require.True(t, want.Equal(got), "%s", out)
		require.True(t, got.Equal(want.Clone()))
	})
}

func TestPolicyEqual(t *testing.T) {
	rule := isolation.Rule{
		Name: "n", From: peers("a"), To: isolation.Match{Labels: map[string]string{"k": "v"}, Prefixes: prefixes("10.0.0.0/8")},
		Protocol: isolation.TCP, Ports: ports(1),
	}
	same := allow(rule)
	require.True(t, same.Equal(allow(rule)))
	for name, change := range map[string]func(*isolation.Rule){
		"name":     func(r *isolation.Rule) { r.Name = "m" },
		"from":     func(r *isolation.Rule) { r.From = peers("b") },
		"labels":   func(r *isolation.Rule) { r.To.Labels["k"] = "w" },
		"prefixes": func(r *isolation.Rule) { r.To.Prefixes[0] = prefix("::/0") },
		"internet": func(r *isolation.Rule) { r.To.Internet = true },
		"accounts": func(r *isolation.Rule) { r.To.Accounts = []string{"a"} },
		"protocol": func(r *isolation.Rule) { r.Protocol = isolation.UDP },
		"ports":    func(r *isolation.Rule) { r.Ports[0].Last = 2 },
	} {
		other := same.Clone()
		change(&other.Allow[0])
		require.False(t, same.Equal(other), name)
		require.True(t, same.Equal(allow(rule)), "%s: a clone shares nothing", name)
	}
	require.False(t, same.Equal(isolation.Policy{Deny: same.Allow}))
	require.True(t, isolation.Policy{}.Equal(isolation.Policy{Allow: []isolation.Rule{}}))
}

func TestText(t *testing.T) {
	for p, want := range map[isolation.Protocol]string{
		isolation.Any: "any", isolation.ICMP: "icmp", isolation.TCP: "tcp", isolation.UDP: "udp", 132: "132",
	} {
		require.Equal(t, want, p.String())
		var got isolation.Protocol
		require.NoError(t, got.UnmarshalText([]byte(want)))
		require.Equal(t, p, got)
	}
	seen := map[string]bool{}
	for r := range isolation.Reason(isolation.NumReasons) {
		require.NotContains(t, r.String(), "reason-")
		require.False(t, seen[r.String()], "%s is there twice", r)
		seen[r.String()] = true
	}
	require.Equal(t, "reason-200", isolation.Reason(200).String())
	require.Equal(t, "pass: internet", isolation.Verdict{Allow: true}.String())
	require.Equal(t, "drop: smtp", isolation.Verdict{Reason: isolation.ReasonSMTP}.String())
}
