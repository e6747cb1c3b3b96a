package rules_test

import (
	"net/netip"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

var (
	pool4 = netip.MustParsePrefix("10.0.0.0/8")
	pool6 = netip.MustParsePrefix("fd77::/64")
)

func compile(t testing.TB, p isolation.Policy) *rules.Policy {
	t.Helper()
	plan, err := isolation.Compile(p, []netip.Addr{netip.MustParseAddr("203.0.113.7")}, []netip.Prefix{pool4, pool6})
	require.NoError(t, err)
	return rules.NewPolicy(plan)
}

// richPolicy has every kind of match.
func richPolicy() isolation.Policy {
	return isolation.Policy{
		Deny: []isolation.Rule{
			{Name: "no web", From: isolation.Match{Accounts: []string{"a"}}, Protocol: isolation.TCP, Ports: []isolation.PortRange{isolation.Port(80), {First: 8000, Last: 8080}}},
			{To: isolation.Match{Internet: true}, Protocol: isolation.ICMP},
		},
		Allow: []isolation.Rule{
			{From: isolation.Match{Labels: map[string]string{"team": "x"}}, To: isolation.Match{Labels: map[string]string{"team": "x"}}},
			{To: isolation.Match{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd12::/16")}}, Ports: []isolation.PortRange{isolation.Port(53)}},
			{From: isolation.Match{Peers: []string{"p"}}},
		},
	}
}

// TestLayoutIsWhatTheKernelHas loads all kinds of rules, sets and objects, and reads them back: nothing differs.
func TestLayoutIsWhatTheKernelHas(t *testing.T) {
	netns.Require(t)
	conn, err := nft.Dial()
	require.NoError(t, err)
	defer conn.Close()
	cfg := rules.Config{
		Interface: "lo", IFB: "ifb9", IFBIndex: 9, Uplink: "eth0", Masquerade: true, Pool: []netip.Prefix{pool4, pool6},
		ControlPorts: []uint16{8443}, ControlAllow: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		Policy: compile(t, richPolicy()),
	}
	for range 2 {
		want := rules.Layout(cfg)
		b := &nft.Batch{}
		for table, content := range want {
			have, err := conn.Read(table)
			require.NoError(t, err)
			notes, err := nft.Diff(b, table, content, have)
			require.NoError(t, err)
			require.Equal(t, have == nil || table.Family == nft.Inet, len(notes) > 0, "%v: %v", table, notes)
		}
		require.NoError(t, conn.Commit(b))
		if out, err := exec.Command("nft", "list", "ruleset").CombinedOutput(); err == nil && testing.Verbose() {
			t.Logf("%s", out)
		}
		for table, content := range want {
			have, err := conn.Read(table)
			require.NoError(t, err)
			again := &nft.Batch{}
			notes, err := nft.Diff(again, table, content, have)
			require.NoError(t, err)
			require.Empty(t, notes)
			require.Zero(t, again.Len())
		}
		// The second round replaces policy and translation.
		cfg.Policy, cfg.Masquerade, cfg.SourceAddrs = compile(t, isolation.Policy{}), false, []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	}
}
