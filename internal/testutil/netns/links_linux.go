package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// End is one end of a pair of links.
type End struct {
	// Namespace is where the end is; nil for the test's own.
	Namespace *Namespace
	Name      string
	// Addrs are the end's addresses, each with the prefix of its network.
	Addrs []netip.Prefix
}

// Veth joins two hosts by a pair of Ethernet links, which are up and have their addresses, usable at once. Both go with the
// test.
func Veth(tb testing.TB, a, b End) {
	tb.Helper()
	far := b.Namespace
	if far == nil {
		file, err := current() // of this goroutine, which is in the test's own
		require.NoError(tb, err)
		defer func() { _ = file.Close() }()
		far = &Namespace{file}
	}
	a.Namespace.Do(tb, func() error {
		return withConn(func(c *rtnetlink.Conn) error {
			peer := &rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{
				Name: b.Name, NetNS: rtnetlink.NetNSForFD(uint32(far.FD())),
			}}
			err := c.Link.New(&rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{
				Name: a.Name, Info: &rtnetlink.LinkInfo{Kind: "veth", Data: &driver.Veth{PeerInfo: peer}},
			}})
			if err != nil {
				return fmt.Errorf("add the links %s and %s: %w", a.Name, b.Name, err)
			}
			return nil
		})
	})
	if a.Namespace == nil {
		tb.Cleanup(func() { DeleteLink(tb, nil, a.Name) })
	} else if b.Namespace == nil {
		tb.Cleanup(func() { DeleteLink(tb, nil, b.Name) })
	}
	for _, end := range []End{a, b} {
		SetUp(tb, end.Namespace, end.Name)
		for _, addr := range end.Addrs {
			AddAddr(tb, end.Namespace, end.Name, addr)
		}
	}
}

// SetUp sets a link up.
func SetUp(tb testing.TB, n *Namespace, link string) {
	tb.Helper()
	n.Do(tb, func() error { return setUp(link) })
}

// AddAddr gives a link an address, usable at once: duplicates of an IPv6 address are not looked for. The link
// must be up.
func AddAddr(tb testing.TB, n *Namespace, link string, addr netip.Prefix) {
	tb.Helper()
	n.Do(tb, func() error {
		return withLink(link, func(c *rtnetlink.Conn, index uint32) error {
			msg := &rtnetlink.AddressMessage{
				Family: family(addr.Addr()), PrefixLength: uint8(addr.Bits()), Index: index,
				Attributes: &rtnetlink.AddressAttributes{Address: addr.Addr().AsSlice(), Local: addr.Addr().AsSlice()},
			}
			if addr.Addr().Is6() {
				msg.Attributes.Flags = unix.IFA_F_NODAD
			}
			if err := c.Address.New(msg); err != nil {
				return fmt.Errorf("add address %s to %s: %w", addr, link, err)
			}
			return settled(c, addr.Addr())
		})
	})
}

// settled waits until packets to an address come to the host: the kernel sees to that of IPv6 some time after it has said that
// the address is there.
func settled(c *rtnetlink.Conn, addr netip.Addr) error {
	const patience, nap = 10 * time.Second, time.Millisecond
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(nap) {
		routes, err := c.Route.Get(&rtnetlink.RouteMessage{
			Family: family(addr), DstLength: uint8(addr.BitLen()), Attributes: rtnetlink.RouteAttributes{Dst: addr.AsSlice()},
		})
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
	}
	return fmt.Errorf("the address %s is not the host's after %v", addr, patience)
}

// AddRoute routes a prefix to a link, by way of a gateway where one is valid.
func AddRoute(tb testing.TB, n *Namespace, link string, dst netip.Prefix, gateway netip.Addr) {
	tb.Helper()
	n.Do(tb, func() error {
		return withLink(link, func(c *rtnetlink.Conn, index uint32) error {
			msg := &rtnetlink.RouteMessage{
				Family: family(dst.Addr()), DstLength: uint8(dst.Bits()), Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_STATIC,
				Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST,
				Attributes: rtnetlink.RouteAttributes{Dst: dst.Addr().AsSlice(), OutIface: index},
			}
			if gateway.IsValid() {
				msg.Scope, msg.Attributes.Gateway = unix.RT_SCOPE_UNIVERSE, gateway.AsSlice()
			}
			if err := c.Route.Add(msg); err != nil {
				return fmt.Errorf("route %s to %s: %w", dst, link, err)
			}
			return nil
		})
	})
}

// DeleteLink deletes a link, if it is there.
func DeleteLink(tb testing.TB, n *Namespace, link string) {
	tb.Helper()
	n.Do(tb, func() error {
		if _, err := net.InterfaceByName(link); err != nil {
			return nil //nolint:nilerr // it is not there, then
		}
		return withLink(link, func(c *rtnetlink.Conn, index uint32) error { return c.Link.Delete(index) })
	})
}

func family(addr netip.Addr) uint8 {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// withConn calls f with a connection to the calling thread's namespace.
func withConn(f func(*rtnetlink.Conn) error) (err error) {
	c, err := rtnetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(c)
}

func withLink(name string, f func(c *rtnetlink.Conn, index uint32) error) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	return withConn(func(c *rtnetlink.Conn) error { return f(c, uint32(link.Index)) })
}
