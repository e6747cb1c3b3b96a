package crashtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

const (
	interfaceName = "wl0"
	kernelPort    = 51820
)

func newKernel(o order) (wgnode.Dataplane, error) {
	return kernel.New(kernel.Config{Interface: o.Interface, Driver: kernel.DriverTUN, Uplink: uplinkName})
}

// TestKernel kills nodes of package kernel, on a TUN, in a network namespace.
func TestKernel(t *testing.T) {
	netns.Require(t)
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
	runCampaigns(t, h, order{Dataplane: inKernel, Interface: interfaceName, Port: kernelPort}, u, portsInKernel, f, killsInKernel)
}
