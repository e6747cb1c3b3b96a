package host_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/host"
)

func TestReach(t *testing.T) {
	for addr, want := range map[string]host.Reachability{
		"8.8.8.8": host.Public, "2a00::1": host.Public, "192.168.1.2": host.Nearby, "10.1.1.1": host.Nearby, "100.64.3.4": host.Nearby, "fd00::1": host.Nearby,
	} {
		endpoint, r := host.Reach(netip.MustParseAddr(addr))
		require.Equal(t, addr, endpoint)
		require.Equal(t, want, r, addr)
		require.Contains(t, r.Advice(host.Names{Endpoint: "--endpoint"}, endpoint, 51820), "UDP port 51820")
	}
	endpoint, r := host.Reach(netip.Addr{})
	require.Equal(t, "127.0.0.1", endpoint)
	require.Contains(t, r.Advice(host.Names{Endpoint: "--endpoint"}, endpoint, 51820), "--endpoint")
	require.Empty(t, host.AsTold.Advice(host.Names{}, "x", 1))
}
