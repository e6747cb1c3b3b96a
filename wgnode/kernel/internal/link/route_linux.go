package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol is the origin (rtm_protocol) that our routes carry; ip route shows it as "proto 119". Nobody has it in
// include/uapi/linux/rtnetlink.h or in iproute2's rt_protos.
const RouteProtocol = 119

// EnsureRoutes makes the host send packets for these prefixes to an interface of ours, which is up: by a route in table main
// for each prefix that neither the connected route of one of the interface's addresses covers, nor somebody's route of the
// same prefix leads there. Routes of ours for other prefixes are removed. A prefix that the host routes elsewhere is an error.
func (c *Conn) EnsureRoutes(index int, want []netip.Prefix) error {
	have, err := c.routes(index)
	if err != nil {
		return err
	}
	covered := func(p netip.Prefix) bool {
		return slices.ContainsFunc(have, func(r route) bool {
			return r.connected() && r.prefix.Bits() <= p.Bits() && r.prefix.Contains(p.Addr())
		})
	}
	missing := make(map[netip.Prefix]bool)
	for _, p := range want {
		if p = p.Masked(); !covered(p) {
			missing[p] = true
		}
	}
	for _, r := range have {
		if r.ours() && !missing[r.prefix] {
			if err := c.removeRoute(r); err != nil {
				return err
			}
		}
	}
	for _, r := range have {
		delete(missing, r.prefix)
	}
	for p := range missing {
		if err := c.addRoute(index, p); err != nil {
			return err
		}
	}
	return nil
}

// route is a route of table main that leads to the interface asked about.
type route struct {
	prefix  netip.Prefix
	message rtnetlink.RouteMessage
}

func (r route) ours() bool { return r.message.Protocol == RouteProtocol }

// connected reports that the kernel made the route, for an address.
func (r route) connected() bool { return r.message.Protocol == unix.RTPROT_KERNEL }

func (c *Conn) addRoute(index int, p netip.Prefix) error {
	m := rtnetlink.RouteMessage{
		Family: family(p.Addr()), DstLength: uint8(p.Bits()), Table: unix.RT_TABLE_MAIN, Protocol: RouteProtocol,
		Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST,
		Attributes: rtnetlink.RouteAttributes{Dst: p.Addr().AsSlice(), OutIface: uint32(index)},
	}
	if p.Addr().Is6() {
		m.Scope = unix.RT_SCOPE_UNIVERSE // IPv6 routes have no scope
	}
	data, err := m.MarshalBinary()
	if err == nil {
		// Excl: IPv6 would otherwise join the route to another of the same prefix, as one of several ways.
		err = c.write(unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, data)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("link: add route to %v: %w: this host routes that prefix elsewhere (ip route show %v): choose another "+
			"pool, or remove that route", p, err, p)
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Errorf("link: add route to %v: %w: the interface must be up first", p, err)
	}
	return fmt.Errorf("link: add route to %v: %w", p, explain(err))
}

func (c *Conn) removeRoute(r route) error {
	m := r.message
	m.Flags = 0
	a := &m.Attributes
	m.Attributes = rtnetlink.RouteAttributes{Dst: a.Dst, OutIface: a.OutIface, Priority: a.Priority, Table: unix.RT_TABLE_MAIN}
	data, err := m.MarshalBinary()
	if err == nil {
		err = c.write(unix.RTM_DELROUTE, 0, data)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: gone already
		return fmt.Errorf("link: remove stray route to %v: %w", r.prefix, explain(err))
	}
	return nil
}

// routes reads the unicast routes of table main that lead to an interface, the kernel's own included.
func (c *Conn) routes(index int) ([]route, error) {
	var all []route
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		// The kernel sifts by these where it checks requests strictly; else all routes come, and are sifted below.
		ask := rtnetlink.RouteMessage{
			Family: fam, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST,
			Attributes: rtnetlink.RouteAttributes{OutIface: uint32(index)},
		}
		data, err := ask.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("link: read routes: %w", err)
		}
		answer, err := c.read(unix.RTM_GETROUTE, netlink.Dump, data)
		switch {
		case errors.Is(err, unix.ENODEV):
			return nil, fmt.Errorf("link: interface %d: %w: was it deleted?", index, ErrNoLink)
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENOENT):
			continue // no such family on this host, or a table with nothing in it
		case err != nil:
			return nil, fmt.Errorf("link: read routes: %w", err)
		}
		for _, m := range answer {
			r := route{}
			if err := r.message.UnmarshalBinary(m.Data); err != nil {
				return nil, fmt.Errorf("link: read routes: %w", err)
			}
			if prefix, ok := mainPrefix(r.message, index); ok {
				r.prefix = prefix
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// mainPrefix returns where a unicast route of table main leads to, if it is over the interface alone.
func mainPrefix(m rtnetlink.RouteMessage, index int) (netip.Prefix, bool) {
	a := m.Attributes
	if m.Type != unix.RTN_UNICAST || m.Table != unix.RT_TABLE_MAIN || a.OutIface != uint32(index) || m.Flags&unix.RTM_F_CLONED != 0 {
		return netip.Prefix{}, false
	}
	addr, ok := addrOf(a.Dst)
	if !ok { // the default route has no destination
		addr = netip.IPv4Unspecified()
		if m.Family == unix.AF_INET6 {
			addr = netip.IPv6Unspecified()
		}
	}
	return netip.PrefixFrom(addr, int(m.DstLength)), true
}
