package crashtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

const (
	interfaceName = "wl0"
	kernelPort    = 51820
)

func newKernel(o order) (wgnode.Dataplane, error) {
	driver := kernel.DriverTUN
	if o.Dataplane == inModule {
		driver = kernel.DriverModule
	}
	return kernel.New(kernel.Config{Interface: o.Interface, Driver: driver, Uplink: uplinkName})
}

// TestKernel kills nodes of package kernel, on a TUN, in a network namespace.
func TestKernel(t *testing.T) {
	netns.Require(t)
	killInKernel(t, inKernel, killsInKernel)
}

// TestModule kills nodes of package kernel with the kernel's WireGuard module, which goes on when they are dead.
func TestModule(t *testing.T) {
	if !vm.Inside() {
		t.Skip("TestVM runs this where the module is")
	}
	killInKernel(t, inModule, killsInModule)
}

// TestVM runs TestModule in a virtual machine.
func TestVM(t *testing.T) {
	vm.Require(t)
	if testing.Short() {
		t.Skip("a virtual machine takes a minute")
	}
	args := []string{"-test.v", "-test.timeout=30m", "-test.run=^TestModule$"}
	if *killsFlag > 0 {
		args = append(args, fmt.Sprintf("-kills=%d", *killsFlag))
	}
	if *seedFlag > 0 {
		args = append(args, fmt.Sprintf("-seed=%d", *seedFlag))
	}
	vm.TestPackage(t, vm.Config{
		Modules: []string{
			"wireguard", "tun", "ifb", "nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_ct", "nft_quota", "nft_limit", "nft_log",
			"nft_hash", "nft_fib_inet", "nft_reject_inet", "nft_fwd_netdev", "nft_nat", "nft_masq", "nft_redir", "nft_chain_nat", "nft_objref",
			"sch_htb", "sch_fq_codel", "sch_ingress", "act_mirred",
		},
		Programs: []string{"ip", "tc", "nft", "sysctl"},
		Time:     30 * time.Minute,
	}, args...)
}

func killInKernel(t *testing.T, dataplane string, kills int) {
	for _, tool := range []string{"ip", "tc"} {
		testutil.RequireTool(t, tool, "iproute2")
	}
	testutil.RequireTool(t, "nft", "nftables")
	f := new(flows)
	u := newUplink(t, f)
	t.Cleanup(func() { require.NoError(t, u.Close()) })
	h, err := newHost()
	require.NoError(t, err)
	defer func() { t.Logf("one interface had %d classes at most", h.classes) }()
	runCampaigns(t, h, order{Dataplane: dataplane, Interface: interfaceName, Port: kernelPort}, u, portsInKernel, f, kills)
}
