//go:build linux

package kernel_test

import (
	"errors"
	"os"
	"testing"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// TestConformance holds the dataplane to what every dataplane is held to, with each driver that this kernel has.
func TestConformance(t *testing.T) {
	t.Run("TUN", func(t *testing.T) { conformance.TestDataplane(t, harness(kernel.DriverTUN)) })
	t.Run("module", func(t *testing.T) {
		requireModule(t)
		conformance.TestDataplane(t, harness(kernel.DriverModule))
	})
}

// harness says what the kernel below the dataplane does in its own way.
func harness(driver kernel.Driver) conformance.Harness {
	h := conformance.Harness{
		Rig: func(t *testing.T) conformance.Rig { return newRig(t, driver) },
		Traits: conformance.Traits{
			MeteredBeforeQueue: true, // counted in the forward hook, queued at the tunnel's device
			SuperPackets:       true, // GRO of wireguard-go and of the module
			Reassembles:        true, // connection tracking, which NAT needs
			DropsUncounted:     true, // the kernel checks IP headers before any hook sees them
			Emulated:           vm.Inside(),
		},
	}
	if vm.Inside() {
		h.Rates = []shaping.Rate{500_000, 1_000_000}
	}
	return h
}

// hasModule reports whether the kernel makes WireGuard links. It loads the module where that is possible.
func hasModule(tb testing.TB) bool {
	tb.Helper()
	netns.Require(tb)
	c, err := rtnetlink.Dial(nil)
	require.NoError(tb, err)
	defer c.Close()
	const name = "probe0"
	err = c.Link.New(&rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{
		Name: name, Info: &rtnetlink.LinkInfo{Kind: "wireguard"},
	}})
	if err != nil {
		require.True(tb, errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission), "%v", err)
		return false
	}
	netns.DeleteLink(tb, nil, name)
	return true
}
