package kernel_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	packets "github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// Ports of the host: two that are controlled, and one that is not.
const (
	control1, control2 = 8443, 9443
	website            = 8080
)

// The hosts that want to get at them, in either family.
var (
	friend    = sources{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8:7::7")}
	stranger  = sources{netip.MustParseAddr("198.51.100.8"), netip.MustParseAddr("2001:db8:8::8")}
	friends   = []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8:7::/48")}
	outsiders = []netip.Prefix{netip.MustParsePrefix("198.51.100.8/32"), netip.MustParsePrefix("2001:db8:8::/48")}
)

// besieged is a host with services, and two others on the internet that try them.
type besieged struct {
	*wire
	friend, stranger *conformance.Stack
	cfg              kernel.Config
}

func newBesieged(t *testing.T) *besieged {
	t.Helper()
	ready := newHost(t)
	b := &besieged{wire: newUplink(t), cfg: kernel.Config{ControlPorts: []uint16{control1, control2}, ControlAllow: friends}}
	ready()
	b.friend, b.stranger = b.host(t, friend...), b.host(t, stranger...)
	for _, port := range []int{control1, control2, website} {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: port})
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go serveEcho(l)
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		go serveEchoUDP(conn)
	}
	return b
}

// requireOpen asserts that a host gets at the control ports, and at all else.
func (b *besieged) requireOpen(t *testing.T, from *conformance.Stack) {
	t.Helper()
	for _, at := range b.addrs {
		for _, port := range []uint16{control1, control2} {
			require.NoError(t, exchange(t.Context(), from, "tcp", netip.AddrPortFrom(at, port), guestPatience))
		}
	}
	b.requireRest(t, from)
}

// requireRest asserts that a host gets at what no table is about: other ports, and the same numbers of UDP.
func (b *besieged) requireRest(t *testing.T, from *conformance.Stack) {
	t.Helper()
	for _, at := range b.addrs {
		require.NoError(t, exchange(t.Context(), from, "tcp", netip.AddrPortFrom(at, website), guestPatience))
		require.NoError(t, exchange(t.Context(), from, "udp", netip.AddrPortFrom(at, control1), guestPatience))
	}
}

// requireClosed asserts that the host says nothing at all to who knocks at its control ports, while the rest is open. What it
// said on standing connections before, and was not acknowledged, it may say again.
func (b *besieged) requireClosed(t *testing.T, from *conformance.Stack, as sources, standing ...net.Conn) {
	t.Helper()
	var old []netip.AddrPort
	for _, conn := range standing {
		old = append(old, netip.MustParseAddrPort(conn.LocalAddr().String()))
	}
	b.departed.reset()
	for _, at := range b.addrs {
		for _, port := range []uint16{control1, control2} {
			b.inject(t, synPacket(netip.AddrPortFrom(as.like(at), flowNumber()), netip.AddrPortFrom(at, port), 1460))
			err := dial(t.Context(), from, netip.AddrPortFrom(at, port))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
	b.requireRest(t, from)
	require.Empty(t, b.departed.that(func(s seen) bool {
		return s.Dst == as.like(s.Dst) && (s.IsICMPError() || s.Proto == packets.TCP && s.SrcPort != website) &&
			!slices.Contains(old, netip.AddrPortFrom(s.Dst, s.DstPort))
	}))
}

// dial connects, and waits a moment for what must not come.
func dial(ctx context.Context, from *conformance.Stack, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", to)
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	return conn.Close()
}

// requireOwn asserts that the host gets at its control ports itself, over the loopback and at its own addresses.
func (b *besieged) requireOwn(t *testing.T) {
	t.Helper()
	for _, at := range append([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, b.addrs...) {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(at, control1).String(), guestPatience)
		require.NoError(t, err)
		require.True(t, answered(t.Context(), conn, guestPatience))
		require.NoError(t, conn.Close())
	}
}

// TestControlPorts has the list replaced while the node runs, both ways; connections of those who fall off it stop, and go on
// if they are put back in time. With the node all of it ends.
func TestControlPorts(t *testing.T) {
	b := newBesieged(t)
	v := newVisitor(t, b.cfg)
	before := v.dropped(t, "control port")
	b.requireOpen(t, b.friend)
	require.Equal(t, before, v.dropped(t, "control port"))
	b.requireClosed(t, b.stranger, stranger)
	require.GreaterOrEqual(t, v.dropped(t, "control port"), before+8) // SYNs may be sent again
	b.requireOwn(t)

	var standing []net.Conn
	for _, at := range b.addrs {
		conn, err := b.friend.Dial(t.Context(), "tcp", netip.AddrPortFrom(at, control1))
		require.NoError(t, err)
		defer conn.Close()
		require.True(t, answered(t.Context(), conn, guestPatience))
		standing = append(standing, conn)
	}
	generation := tablesGeneration(t)
	require.NoError(t, v.dp.SetControlAllow(t.Context(), outsiders))
	require.Equal(t, generation+1, tablesGeneration(t), "the list was not replaced in one step")
	for _, conn := range standing {
		require.False(t, answered(t.Context(), conn, briefly), "a connection outlives its prefix")
	}
	b.requireClosed(t, b.friend, friend, standing...)
	b.requireOpen(t, b.stranger)
	b.requireOwn(t)

	require.NoError(t, v.dp.SetControlAllow(t.Context(), append(friends, outsiders...)))
	for _, conn := range standing {
		require.True(t, answered(t.Context(), conn, guestPatience), "the connection does not go on")
	}
	b.requireOpen(t, b.friend)
	b.requireOpen(t, b.stranger)

	require.NoError(t, v.dp.SetControlAllow(t.Context(), nil))
	b.requireClosed(t, b.friend, friend, standing...)
	b.requireClosed(t, b.stranger, stranger)
	b.requireOwn(t)
	v.leave()
	require.NoError(t, v.dp.Close())
	b.requireOpen(t, b.friend)
	b.requireOpen(t, b.stranger)
}

// TestControlPortsAndPeers: a peer reaches a control port if the list and the policy both allow it.
func TestControlPortsAndPeers(t *testing.T) {
	b := newBesieged(t)
	v := newVisitor(t, b.cfg)
	own := []netip.Addr{v.cfg.Addresses[0].Addr(), v.cfg.Addresses[1].Addr()}
	requireReach := func(want bool) {
		t.Helper()
		for _, at := range append(own, b.addrs...) {
			to := netip.AddrPortFrom(at, control1)
			if want {
				require.NoError(t, exchange(t.Context(), v.Stack, "tcp", to, guestPatience))
			} else {
				require.ErrorIs(t, dial(t.Context(), v.Stack, to), context.DeadlineExceeded)
			}
		}
	}
	requireReach(false)
	require.NoError(t, v.dp.SetControlAllow(t.Context(), append(friends, v.cfg.Pool...)))
	requireReach(false) // by the policy
	policy := isolation.Policy{Allow: []isolation.Rule{{
		Name: "the host", To: isolation.Match{Prefixes: []netip.Prefix{
			netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("2001:db8:ffff::1/128"),
			netip.PrefixFrom(own[0], 32), netip.PrefixFrom(own[1], 128),
		}},
	}}}
	require.NoError(t, v.dp.Apply(t.Context(), wgnode.Change{Policy: &policy}))
	requireReach(true)
	for _, at := range own {
		require.NoError(t, exchange(t.Context(), v.Stack, "tcp", netip.AddrPortFrom(at, website), guestPatience))
	}
	require.NoError(t, v.dp.SetControlAllow(t.Context(), friends))
	requireReach(false) // by the list
	for _, at := range own {
		require.NoError(t, exchange(t.Context(), v.Stack, "tcp", netip.AddrPortFrom(at, website), guestPatience))
	}
}

// TestControlPortsKept: what was replaced holds through every repair, and until a dataplane starts again, which begins with
// the list of its configuration.
func TestControlPortsKept(t *testing.T) {
	b := newBesieged(t)
	b.cfg.KeepOnClose = true
	v := newVisitor(t, b.cfg)
	require.NoError(t, v.dp.SetControlAllow(t.Context(), outsiders))
	for _, disturb := range []string{"", "flush set " + inetTable + " control4", "delete table " + inetTable} {
		if disturb != "" {
			run(t, "nft "+disturb)
		}
		repairs, err := v.dp.Sync(t.Context(), v.state)
		require.NoError(t, err)
		require.Equal(t, disturb == "", len(repairs) == 0, "%v", repairs)
		b.requireClosed(t, b.friend, friend)
		b.requireOpen(t, b.stranger)
	}
	v.leave()
	require.NoError(t, v.dp.Close())
	b.requireClosed(t, b.friend, friend) // with no process
	b.requireOpen(t, b.stranger)

	b.cfg.Interface, b.cfg.Driver, b.cfg.KeepOnClose = rigInterface, kernel.DriverTUN, false
	v.again(t, b.cfg)
	v.start(t)
	b.requireOpen(t, b.friend)
	b.requireClosed(t, b.stranger, stranger)
	require.NoError(t, v.dp.Close())

	b.cfg.ControlPorts, b.cfg.ControlAllow = nil, nil
	v.again(t, b.cfg)
	v.start(t)
	b.requireOpen(t, b.stranger)
}

// The list can be replaced while a dataplane with control ports runs, by prefixes.
func TestSetControlAllow(t *testing.T) {
	newHost(t)()
	without := newNeighbour(t, kernel.Config{Interface: rigInterface, Driver: kernel.DriverTUN}, 10)
	require.ErrorIs(t, without.dp.SetControlAllow(t.Context(), friends), wgnode.ErrNotStarted)
	without.start(t)
	require.ErrorContains(t, without.dp.SetControlAllow(t.Context(), friends), "set Config.ControlPorts")
	require.NoError(t, without.dp.Close())
	require.ErrorIs(t, without.dp.SetControlAllow(t.Context(), friends), wgnode.ErrClosed)

	with := newNeighbour(t, kernel.Config{Interface: rigInterface, Driver: kernel.DriverTUN, ControlPorts: []uint16{control1}}, 10)
	with.start(t)
	err := with.dp.SetControlAllow(t.Context(), []netip.Prefix{friends[0], {}})
	require.ErrorContains(t, err, "allow[1] is invalid Prefix: use an IPv4 or IPv6 prefix")
	generation := tablesGeneration(t)
	// Prefixes that touch, overlap and repeat, not masked, are as good as any.
	require.NoError(t, with.dp.SetControlAllow(t.Context(), []netip.Prefix{
		netip.MustParsePrefix("198.51.100.7/24"), netip.MustParsePrefix("198.51.101.0/24"), friends[0], friends[0],
		netip.MustParsePrefix("::/0"),
	}))
	require.Equal(t, generation+1, tablesGeneration(t))
	repairs, err := with.dp.Sync(t.Context(), with.state)
	require.NoError(t, err)
	require.Empty(t, repairs)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, with.dp.SetControlAllow(canceled, nil), context.Canceled)
}
