package hostload_test

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/registry/load"
	"github.com/waylume/waylume/registry/load/hostload"
)

// What is read of this host is what the kernel says by other ways.
func TestThisHost(t *testing.T) {
	r := reader(t, hostload.Config{Uplink: "lo"})
	s, err := r.Sample(t.Context())
	require.NoError(t, err)
	require.Positive(t, s.CPU.Used)
	require.Less(t, s.CPU.Used, s.CPU.Total)
	var info unix.Sysinfo_t
	require.NoError(t, unix.Sysinfo(&info))
	if s.Memory.Of != info.Totalram*uint64(info.Unit) {
		require.Less(t, s.Memory.Of, info.Totalram*uint64(info.Unit), "a control group has less")
	}
	require.Positive(t, s.Memory.Used)
	require.Less(t, s.Memory.Used, s.Memory.Of)
	_, err = os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	require.Equal(t, err == nil, s.Conntrack.Of > 0)
	lo, err := net.InterfaceByName("lo")
	require.NoError(t, err)
	require.Equal(t, lo.Index, s.Uplink.Index)
	require.Zero(t, s.Uplink.Capacity)

	var later load.Sample
	for later.CPU.Used <= s.CPU.Used { // this loop is what uses it
		later, err = r.Sample(t.Context())
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, later.CPU.Total-s.CPU.Total, later.CPU.Used-s.CPU.Used)
}

// quiet has links that are made in a namespace from here on carry nothing but what the test sends: no IPv6, which looks for routers.
func quiet(t *testing.T, n *netns.Namespace) {
	t.Helper()
	n.Do(t, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644) })
}

var (
	nearAddr = netip.MustParsePrefix("192.0.2.1/24")
	farAddr  = netip.MustParsePrefix("192.0.2.2/24")
)

// Bytes and packets are those of the link, each one of them.
func TestTraffic(t *testing.T) {
	netns.Require(t)
	far := netns.New(t)
	quiet(t, nil)
	quiet(t, far)
	r := reader(t, hostload.Config{Capacity: 1e9})
	_, err := r.Sample(t.Context())
	require.ErrorIs(t, err, hostload.ErrNoUplink)

	veth := func() {
		netns.Veth(t,
			netns.End{Name: "near", Addrs: []netip.Prefix{nearAddr}},
			netns.End{Name: "far", Namespace: far, Addrs: []netip.Prefix{farAddr}})
		netns.AddRoute(t, nil, "near", netip.MustParsePrefix("0.0.0.0/0"), farAddr.Addr())
	}
	veth()
	send := conversation(t, far)
	send(1, 1, 1) // neighbours know each other from here on

	sample := func() load.Sample {
		s, err := r.Sample(t.Context())
		require.NoError(t, err)
		require.Equal(t, "near", s.Uplink.Name)
		return s
	}
	meter, err := load.NewMeter(load.Config{})
	require.NoError(t, err)
	before := sample()
	meter.Add(before)
	const payload, there, back = 1000, 500, 200
	send(there, back, payload)
	after := sample()
	const packet = 14 + 20 + 8 + payload // Ethernet, IPv4, UDP
	require.Equal(t, uint64(there*packet), after.Uplink.SentBytes-before.Uplink.SentBytes)
	require.Equal(t, uint64(there), after.Uplink.SentPackets-before.Uplink.SentPackets)
	require.Equal(t, uint64(back*packet), after.Uplink.ReceivedBytes-before.Uplink.ReceivedBytes)
	require.Equal(t, uint64(back), after.Uplink.ReceivedPackets-before.Uplink.ReceivedPackets)

	after.At = before.At.Add(time.Second)
	l := meter.Add(after)
	require.Equal(t, int64(8*there*packet), l.SentRate)
	require.Equal(t, int64(8*back*packet), l.ReceivedRate)
	require.Equal(t, int64(there), l.SentPackets)
	require.Equal(t, int64(back), l.ReceivedPackets)
	require.InDelta(t, 8*there*packet/1e9, *l.Uplink, 1e-4)

	// Another interface of the same name is another one.
	netns.DeleteLink(t, nil, "near")
	_, err = r.Sample(t.Context())
	require.ErrorIs(t, err, hostload.ErrNoUplink)
	veth()
	renewed := sample()
	require.NotEqual(t, after.Uplink.Index, renewed.Uplink.Index)
	require.Less(t, renewed.Uplink.SentBytes, after.Uplink.SentBytes)

	// The route moves, and what is read with it.
	netns.Veth(t,
		netns.End{Name: "other", Addrs: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		netns.End{Name: "elsewhere", Namespace: far})
	netns.DeleteLink(t, nil, "near")
	netns.AddRoute(t, nil, "other", netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{})
	s, err := r.Sample(t.Context())
	require.NoError(t, err)
	require.Equal(t, "other", s.Uplink.Name)
}

// conversation returns what sends datagrams to the far host and others back, one after the other, and waits until each has arrived.
func conversation(t *testing.T, far *netns.Namespace) func(there, back, payload int) {
	var theirs *net.UDPConn
	far.Do(t, func() (err error) {
		theirs, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(farAddr.Addr(), 7)))
		return err
	})
	ours, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(nearAddr.Addr(), 7)))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, ours.Close())
		require.NoError(t, theirs.Close())
	})
	pass := func(from, to *net.UDPConn, payload int) {
		buf := make([]byte, payload)
		_, err := from.WriteTo(buf, to.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, to.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, err := to.Read(buf)
		require.NoError(t, err)
		require.Equal(t, payload, n)
	}
	return func(there, back, payload int) {
		for range there {
			pass(ours, theirs, payload)
		}
		for range back {
			pass(theirs, ours, payload)
		}
	}
}

// A sample costs some tenths of a millisecond on a slow host: with one each five seconds, nothing.
func BenchmarkSample(b *testing.B) {
	r := reader(b, hostload.Config{Uplink: "lo"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Sample(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
