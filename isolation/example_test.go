package isolation_test

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/waylume/waylume/isolation"
)

// Two colleagues may reach each other by ssh, one of them may ask the node's resolver, and nobody reaches what is closed
// by default.
func Example() {
	policy := isolation.Policy{Allow: []isolation.Rule{
		{
			Name:     "ssh among colleagues",
			From:     isolation.Match{Accounts: []string{"office"}},
			To:       isolation.Match{Accounts: []string{"office"}},
			Protocol: isolation.TCP,
			Ports:    []isolation.PortRange{isolation.Port(22)},
		},
		{
			Name:  "the node's resolver",
			From:  isolation.Match{Peers: []string{"alice"}},
			To:    isolation.Match{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}},
			Ports: []isolation.PortRange{isolation.Port(53)},
		},
	}}
	host := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.9")}
	pool := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	plan, err := isolation.Compile(policy, host, pool)
	if err != nil {
		fmt.Println(err)
		return
	}
	filter := isolation.NewFilter(isolation.Config{})
	filter.SetPlan(plan)
	alice, err := filter.SetSubject(isolation.Subject{
		ID: "alice", Account: "office", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := filter.SetSubject(isolation.Subject{
		ID: "bob", Account: "office", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.3")},
	}); err != nil {
		fmt.Println(err)
		return
	}

	for _, packet := range []struct {
		what string
		raw  []byte // an IP packet
	}{
		{"the internet", tcp("10.0.0.2", "198.51.100.80", 40000, 443, syn).bytes()},
		{"bob's ssh", tcp("10.0.0.2", "10.0.0.3", 40000, 22, syn).bytes()},
		{"bob's web server", tcp("10.0.0.2", "10.0.0.3", 40000, 80, syn).bytes()},
		{"the node's resolver", udp("10.0.0.2", "10.0.0.1", 40000, 53).bytes()},
		{"the node's public address", tcp("10.0.0.2", "203.0.113.9", 40000, 22, syn).bytes()},
		{"the cloud's metadata", tcp("10.0.0.2", "169.254.169.254", 40000, 80, syn).bytes()},
		{"in bob's name", udp("10.0.0.3", "198.51.100.80", 40000, 53).bytes()},
	} {
		fmt.Printf("%s: %v\n", packet.what, filter.CheckPacket(alice, packet.raw))
	}
	// Output:
	// the internet: pass: internet
	// bob's ssh: pass: allowed
	// bob's web server: drop: peer
	// the node's resolver: pass: allowed
	// the node's public address: drop: host
	// the cloud's metadata: drop: metadata
	// in bob's name: drop: spoofed
}

// A policy from a file or an API is checked as a whole.
func ExamplePolicy_Validate() {
	text := `{
		"deny":  [{"name": "no games", "to": {"prefixes": ["198.51.100.7/24"]}}],
		"allow": [{"name": "mail", "from": {"labels": {"mail": "yes"}}, "to": {"internet": true}, "ports": ["25"], "protocol": "icmp"}]
	}`
	var policy isolation.Policy
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(policy.Validate())
	// Output:
	// isolation: policy: allow[0] "mail": ports: protocol icmp has none: use tcp, udp or any; deny[0] "no games": to: prefixes: 198.51.100.7/24 has bits set past its length: write 198.51.100.0/24
}

// An executor of another kind, as one for a kernel's packet filter, reads what it needs from the plan.
func ExamplePlan() {
	plan, err := isolation.Compile(isolation.Policy{
		Deny: []isolation.Rule{{To: isolation.Match{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}},
	}, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rule := range plan.Rules() {
		fmt.Println("deny", rule.Deny, "to", rule.Destinations)
	}
	fmt.Println("closed", plan.Closed()[:3])
	from, to := plan.Selects(isolation.Subject{ID: "alice", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}})
	fmt.Println("rules that alice sends under", from, "and receives under", to)
	// Output:
	// deny true to [198.51.100.0/24 64:ff9b::c633:6400/120]
	// closed [0.0.0.0/8 10.0.0.0/8 100.64.0.0/10]
	// rules that alice sends under [0] and receives under []
}
