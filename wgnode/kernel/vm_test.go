//go:build linux

package kernel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/wgnode/kernel"
)

// eachDriver runs a test with each driver that this kernel has.
func eachDriver(t *testing.T, test func(t *testing.T, driver kernel.Driver)) {
	t.Helper()
	t.Run("TUN", func(t *testing.T) { test(t, kernel.DriverTUN) })
	t.Run("module", func(t *testing.T) {
		requireModule(t)
		test(t, kernel.DriverModule)
	})
}

// requireModule skips a test whose kernel has no WireGuard module; in the machine of TestVM it must have one.
func requireModule(t *testing.T) {
	t.Helper()
	if hasModule(t) {
		return
	}
	require.False(t, vm.Inside(), "the virtual machine has no WireGuard module")
	t.Skip("this kernel has no WireGuard module; TestVM runs this where one is")
}

// TestVM runs the tests of this package that need the kernel's WireGuard module in a virtual machine that has it, and
// fq_codel, whatever this machine's kernel has.
func TestVM(t *testing.T) {
	vm.Require(t)
	if testing.Short() {
		t.Skip("a virtual machine takes minutes")
	}
	vm.TestPackage(t, vm.Config{
		Modules: []string{
			"wireguard", "tun", "veth", "ifb", "dummy", "nf_conntrack", "nf_conntrack_netlink", "nf_tables",
			"nft_ct", "nft_quota", "nft_limit", "nft_log", "nft_hash", "nft_fib_inet", "nft_reject_inet", "nft_fwd_netdev", "nft_dup_netdev",
			"nft_nat", "nft_masq", "nft_redir", "nft_chain_nat", "nft_objref", "nft_compat",
			"sch_htb", "sch_fq_codel", "sch_ingress", "sch_tbf", "act_mirred",
		},
		Programs: []string{"ip", "tc", "nft"},
		Time:     13 * time.Minute,
	}, "-test.v", "-test.timeout=12m", "-test.run=^(TestConformance|TestAdopt|TestSync|TestWatch|TestKilled|TestQuotaEvents|TestClock|TestOneKey)$/^module$")
}
