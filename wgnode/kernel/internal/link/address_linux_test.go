package link

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
)

func TestEnsureAddresses(t *testing.T) {
	c := dial(t)
	l := makeLink(t, c, "wl0")
	require.NoError(t, c.EnsureUp(l.Index)) // with a link-local address of the kernel's
	linkLocal, err := c.Addresses(l.Index)
	require.NoError(t, err)

	hold := func(want ...string) (n int) {
		t.Helper()
		set := func() error { return c.EnsureAddresses(l.Index, prefixes(want...)) }
		n = writes(t, c, set)
		require.Zero(t, writes(t, c, set), "a second time")
		got, err := c.Addresses(l.Index)
		require.NoError(t, err)
		require.ElementsMatch(t, append(prefixes(want...), linkLocal...), got)
		return n
	}
	require.Equal(t, 2, hold("10.8.0.1/24", "fd08::1/64"))
	// Usable at once: not tentative.
	for _, a := range mustAddresses(t, c, l.Index) {
		if a.prefix.Addr() == netip.MustParseAddr("fd08::1") {
			require.Zero(t, a.message.Attributes.Flags&ifaTentative)
		}
	}
	require.Equal(t, 1, hold("10.8.0.1/24", "fd08::1/64", "192.0.2.1/32"))
	require.Equal(t, 2, hold("10.8.0.1/16", "fd08::1/64", "192.0.2.1/32"), "another prefix of the same address")
	hold("10.8.0.1/24", "10.8.0.2/24", "10.8.0.3/24")
	hold("10.8.0.3/24", "10.8.0.2/24") // the primary goes, and takes the others along
	hold("fd08::1/128")
	hold()

	// Someone takes one away.
	hold("10.8.0.1/24", "fd08::1/64")
	for _, a := range mustAddresses(t, c, l.Index) {
		if a.prefix.Addr().Is4() {
			require.NoError(t, c.removeAddress(a))
			require.NoError(t, c.removeAddress(a), "gone already")
		}
	}
	require.Equal(t, 1, hold("10.8.0.1/24", "fd08::1/64"))
}

const ifaTentative = 0x40

func mustAddresses(t *testing.T, c *Conn, index int) []address {
	t.Helper()
	all, err := c.addresses(index)
	require.NoError(t, err)
	return all
}

func TestHostAddresses(t *testing.T) {
	c := dial(t)
	netns.Veth(t, netns.End{Name: "near", Addrs: prefixes("10.1.0.1/24", "fd01::1/64")},
		netns.End{Name: "far", Namespace: netns.New(t), Addrs: prefixes("10.1.0.2/24")})
	l := makeLink(t, c, "wl0")
	require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
	got, err := c.HostAddresses()
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(got, netip.Addr.Compare))
	for _, want := range []string{"127.0.0.1", "::1", "10.1.0.1", "fd01::1", "10.8.0.1"} {
		require.Contains(t, got, netip.MustParseAddr(want))
	}
	require.NotContains(t, got, netip.MustParseAddr("10.1.0.2"))
}
