package link

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
)

func TestEnsureRoutes(t *testing.T) {
	c := dial(t)
	l := makeLink(t, c, "wl0")
	require.ErrorIs(t, c.EnsureRoutes(l.Index, prefixes("10.9.0.0/16")), unix.ENETDOWN)
	require.NoError(t, c.EnsureUp(l.Index))
	require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24", "fd08::1/64")))

	hold := func(want []string, ours ...string) (n int) {
		t.Helper()
		set := func() error { return c.EnsureRoutes(l.Index, prefixes(want...)) }
		n = writes(t, c, set)
		require.Zero(t, writes(t, c, set), "a second time")
		var got []netip.Prefix
		for _, r := range mustRoutes(t, c, l.Index) {
			if r.ours() {
				got = append(got, r.prefix)
			}
		}
		require.ElementsMatch(t, prefixes(ours...), got)
		return n
	}
	// Connected routes serve.
	require.Zero(t, hold([]string{"10.8.0.0/24", "fd08::/64", "10.8.0.128/25"}))
	// A pool that is wider than the address's prefix, host bits, twice the same.
	require.Equal(t, 3, hold([]string{"10.8.0.0/16", "10.9.0.7/24", "10.9.0.0/24", "fd09::/64"}, "10.8.0.0/16", "10.9.0.0/24", "fd09::/64"))
	require.Equal(t, 2, hold([]string{"10.8.0.0/16"}, "10.8.0.0/16"), "strays go")

	// Another's route to the same place serves, and stays.
	netns.AddRoute(t, nil, "wl0", netip.MustParsePrefix("10.10.0.0/24"), netip.Addr{})
	require.Equal(t, 1, hold([]string{"10.10.0.0/24"}))
	require.Zero(t, hold([]string{"10.10.0.0/24"}))
	require.Zero(t, hold(nil))
	require.Len(t, mustRoutes(t, c, l.Index), 1+1+2, "two connected ones, another's, and IPv6 link-local")

	// Someone removes one, even a connected one.
	hold([]string{"10.8.0.0/24", "fd09::/64"}, "fd09::/64")
	for _, r := range mustRoutes(t, c, l.Index) {
		if r.prefix.Bits() == 24 || r.ours() {
			require.NoError(t, c.removeRoute(r))
			require.NoError(t, c.removeRoute(r), "gone already")
		}
	}
	require.Equal(t, 2, hold([]string{"10.8.0.0/24", "fd09::/64"}, "10.8.0.0/24", "fd09::/64"))
}

func TestRoutesElsewhere(t *testing.T) {
	c := dial(t)
	l := makeLink(t, c, "wl0")
	other := stranger(t, c, "theirs", KindIFB)
	for _, index := range []int{l.Index, other.Index} {
		require.NoError(t, c.EnsureUp(index))
	}
	for _, p := range prefixes("10.9.0.0/24", "fd09::/64") {
		netns.AddRoute(t, nil, "theirs", p, netip.Addr{})
		err := c.EnsureRoutes(l.Index, []netip.Prefix{p})
		require.ErrorIs(t, err, unix.EEXIST)
		require.ErrorContains(t, err, "ip route show "+p.String())
	}
	require.NoError(t, c.EnsureRoutes(l.Index, nil))
	before := mustRoutes(t, c, other.Index)
	require.NotEmpty(t, before)
	require.NoError(t, c.EnsureRoutes(l.Index, prefixes("10.11.0.0/24")))
	require.Equal(t, before, mustRoutes(t, c, other.Index))
}

func mustRoutes(t *testing.T, c *Conn, index int) []route {
	t.Helper()
	all, err := c.routes(index)
	require.NoError(t, err)
	return all
}
