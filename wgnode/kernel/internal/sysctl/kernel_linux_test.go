package sysctl

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// snapshot reads every parameter that forwarding may touch.
func snapshot(t *testing.T) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, pattern := range []string{
		"net/ipv4/ip_forward", "net/ipv4/conf/*/forwarding", "net/ipv4/conf/*/accept_redirects",
		"net/ipv6/conf/*/forwarding", "net/ipv6/conf/*/accept_ra",
	} {
		paths, err := filepath.Glob(filepath.Join(DefaultRoot, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, p := range paths {
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			values[p] = string(b)
		}
	}
	return values
}

func host(t *testing.T) (Tree, *netns.Namespace) {
	t.Helper()
	netns.Require(t)
	far := netns.New(t)
	netns.Veth(t, netns.End{Name: "near", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::7/64")}},
		netns.End{Name: "far", Namespace: far, Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}})
	return New(""), far
}

// The real kernel changes more than it is told to; all of it comes back.
func TestForwardingAndBack(t *testing.T) {
	tr, _ := host(t)
	for _, odd := range [][]Setting{
		nil,
		{{"net.ipv4.conf.near.forwarding", "1"}, {"net.ipv6.conf.near.forwarding", "1"}, {"net.ipv4.conf.all.accept_redirects", "0"}},
		{{"net.ipv6.conf.lo.accept_ra", "0"}, {"net.ipv6.conf.default.forwarding", "1"}, {"net.ipv4.conf.default.forwarding", "1"}},
	} {
		undo, err := tr.Set(odd)
		require.NoError(t, err)
		before := snapshot(t)
		settings, err := tr.Forwarding(true, true)
		require.NoError(t, err)
		planned, err := tr.Plan(settings)
		require.NoError(t, err)
		saved, err := tr.Set(settings)
		require.NoError(t, err)
		want(t, tr, map[string]string{forward4: "1", forward6: "1", "net.ipv6.conf.near.forwarding": "1"})
		settings, err = tr.Forwarding(true, true)
		require.NoError(t, err)
		again, err := tr.Set(settings)
		require.NoError(t, err)
		require.Empty(t, again, "a second time")
		if len(odd) == 0 {
			require.Empty(t, slices.DeleteFunc(slices.Clone(saved), func(s Saved) bool { return s.Before != s.Value }), "nothing to mend")
		}
		// In the order of the alphabet, as one who kept it in a map has it.
		slices.SortFunc(planned, func(a, b Saved) int { return strings.Compare(a.Name, b.Name) })
		require.NoError(t, tr.Restore(planned))
		require.Equal(t, before, snapshot(t))
		require.NoError(t, tr.Restore(undo))
	}
}

// Someone's later word on one interface holds.
func TestForwardingRestoreKeepsLaterWord(t *testing.T) {
	tr, _ := host(t)
	first, err := tr.Set([]Setting{{"net.ipv4.conf.near.forwarding", "1"}})
	require.NoError(t, err)
	saved, err := tr.Set([]Setting{{forward4, "1"}})
	require.NoError(t, err)
	require.NoError(t, tr.write(Setting{"net.ipv4.conf.near.forwarding", "0"}))
	require.NoError(t, tr.Restore(saved))
	want(t, tr, map[string]string{forward4: "0", "net.ipv4.conf.near.forwarding": "0"})
	require.NoError(t, tr.Restore(first))
}

// advertise makes the other end a router, and waits until this host has its default route.
func advertise(t *testing.T, far *netns.Namespace) {
	t.Helper()
	var c *icmp.PacketConn
	far.Do(t, func() (err error) {
		c, err = icmp.ListenPacket("ip6:ipv6-icmp", "fe80::1%far")
		return err
	})
	defer c.Close()
	data := make([]byte, 12) // RFC 4861, 4.2, after the checksum
	data[0], data[2], data[3] = 64, 0x07, 0x08
	b, err := (&icmp.Message{Type: ipv6.ICMPTypeRouterAdvertisement, Body: &icmp.RawBody{Data: data}}).Marshal(nil)
	require.NoError(t, err)
	far.Do(t, func() error {
		iface, err := net.InterfaceByName("far")
		if err == nil {
			err = c.IPv6PacketConn().SetMulticastInterface(iface)
		}
		return err
	})
	require.NoError(t, c.IPv6PacketConn().SetMulticastHopLimit(255))
	require.Eventually(t, func() bool {
		_, err := c.WriteTo(b, &net.IPAddr{IP: net.ParseIP("ff02::1")})
		require.NoError(t, err)
		return hasDefault(t)
	}, 30*time.Second, 10*time.Millisecond, "the advertisement makes no route")
}

// hasDefault looks for a default route of IPv6 over near that came with an advertisement.
func hasDefault(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[0] == strings.Repeat("0", 32) && f[1] == "00" && f[9] == "near" {
			return true
		}
	}
	return false
}

// A host that has its default route from an advertisement keeps it, and would lose it otherwise.
func TestForwardingKeepsAdvertisedRoute(t *testing.T) {
	tr, far := host(t)
	advertise(t, far)
	saved, err := tr.Set([]Setting{{forward6, "1"}})
	require.NoError(t, err)
	require.False(t, hasDefault(t), "what the rest is for")
	require.NoError(t, tr.Restore(saved))

	advertise(t, far)
	settings, err := tr.Forwarding(true, true)
	require.NoError(t, err)
	saved, err = tr.Set(settings)
	require.NoError(t, err)
	require.True(t, hasDefault(t))
	require.NoError(t, tr.Restore(saved))
	require.True(t, hasDefault(t))
}

// In a container /proc/sys is often read-only.
func TestReadOnly(t *testing.T) {
	tr, _ := host(t)
	saved, err := tr.Set([]Setting{{forward6, "1"}})
	require.NoError(t, err)
	require.NoError(t, unix.Mount(DefaultRoot, DefaultRoot, "", unix.MS_BIND, ""))
	t.Cleanup(func() {
		require.NoError(t, unix.Unmount(DefaultRoot, unix.MNT_DETACH))
		require.NoError(t, tr.Restore(saved))
	})
	require.NoError(t, unix.Mount("", DefaultRoot, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	none, err := tr.Set([]Setting{{forward6, "1"}})
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = tr.Set([]Setting{{forward4, "1"}})
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorContains(t, err, "sysctl -w net.ipv4.ip_forward=1")
	require.ErrorContains(t, err, "docker run --sysctl net.ipv4.ip_forward=1")
}
