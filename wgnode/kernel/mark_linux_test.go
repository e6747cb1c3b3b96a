package kernel_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/kernel"
)

// TestFirewallMark has all that WireGuard sends carry the mark, and nothing that peers send.
func TestFirewallMark(t *testing.T) {
	ready := newHost(t)
	w := newUplink(t)
	ready()
	w.host(t, far4, far6)
	v := newVisitor(t, kernel.Config{FirewallMark: 0xca6c})
	rules := exec.CommandContext(t.Context(), "nft", "-f", "-")
	rules.Stdin = strings.NewReader(fmt.Sprintf(`
table inet marks {
	counter marked { }
	counter unmarked { }
	counter peers { }
	chain out {
		type filter hook output priority 0
		udp sport %d meta mark 0xca6c counter name marked return
		udp sport %[1]d counter name unmarked
	}
	chain through {
		type filter hook forward priority 10
		meta mark != 0 counter name peers
	}
}`, v.cfg.ListenPort))
	out, err := rules.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { run(t, "nft delete table inet marks") })

	requireEcho(t, v.Stack, []netip.Addr{far4, far6}...)
	require.NotContains(t, output(t, "nft", "list", "counter", "inet", "marks", "marked"), "packets 0 ")
	require.Contains(t, output(t, "nft", "list", "counter", "inet", "marks", "unmarked"), "packets 0 ")
	require.Contains(t, output(t, "nft", "list", "counter", "inet", "marks", "peers"), "packets 0 ")
}
