package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// address is one address of an interface.
type address struct {
	index  int
	prefix netip.Prefix
	// message is as the kernel sent it: what a removal must name, for addresses with another at the far end.
	message rtnetlink.AddressMessage
}

// HostAddresses returns every address of every interface, loopback and link-local ones included: sorted, each once, without
// zone.
func (c *Conn) HostAddresses() ([]netip.Addr, error) {
	all, err := c.addresses(0)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(all))
	for _, a := range all {
		addrs = append(addrs, a.prefix.Addr())
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}

// Addresses returns the addresses of one interface, each with its prefix length.
func (c *Conn) Addresses(index int) ([]netip.Prefix, error) {
	all, err := c.addresses(index)
	if err != nil {
		return nil, err
	}
	prefixes := make([]netip.Prefix, 0, len(all))
	for _, a := range all {
		prefixes = append(prefixes, a.prefix)
	}
	return prefixes, nil
}

// EnsureAddresses gives an interface of ours exactly these addresses, each with the prefix that it is connected to. Others
// are removed, but for IPv6 link-local ones. IPv6 addresses are not probed for duplicates (RFC 4862, 5.4): nobody answers on
// a tunnel, and they would not be of use for the time it takes.
func (c *Conn) EnsureAddresses(index int, want []netip.Prefix) error {
	have, err := c.addresses(index)
	if err != nil {
		return err
	}
	var there []netip.Prefix
	for _, a := range have {
		if slices.Contains(want, a.prefix) {
			there = append(there, a.prefix)
		} else if !a.prefix.Addr().IsLinkLocalUnicast() || a.prefix.Addr().Is4() {
			if err := c.removeAddress(a); err != nil {
				return err
			}
		}
	}
	// The removal of a primary IPv4 address takes the secondary ones of its subnet along, wanted ones too, unless
	// promote_secondaries is set (net/ipv4/devinet.c, __inet_del_ifa).
	if len(there) != len(have) {
		if there, err = c.Addresses(index); err != nil {
			return err
		}
	}
	for _, p := range want {
		if !slices.Contains(there, p) {
			if err := c.addAddress(index, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Conn) addAddress(index int, p netip.Prefix) error {
	m := rtnetlink.AddressMessage{
		Family: family(p.Addr()), PrefixLength: uint8(p.Bits()), Index: uint32(index),
		Attributes: &rtnetlink.AddressAttributes{Address: p.Addr().AsSlice(), Local: p.Addr().AsSlice()},
	}
	if p.Addr().Is6() {
		m.Attributes.Flags = unix.IFA_F_NODAD
	}
	data, err := m.MarshalBinary()
	if err == nil {
		err = c.write(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, data)
	}
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case p.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)):
		return fmt.Errorf("link: add address %v: %w: IPv6 is off on this host: set net.ipv6.conf.all.disable_ipv6 and "+
			"net.ipv6.conf.default.disable_ipv6 to 0, or leave IPv6 out of the configuration", p, err)
	}
	return fmt.Errorf("link: add address %v: %w", p, explain(err))
}

func (c *Conn) removeAddress(a address) error {
	m := a.message
	at := *m.Attributes
	m.Attributes = &rtnetlink.AddressAttributes{Address: at.Address, Local: at.Local}
	m.Flags = 0
	data, err := m.MarshalBinary()
	if err == nil {
		err = c.write(unix.RTM_DELADDR, 0, data)
	}
	// Gone already: another's removal, or a primary address's, took it along.
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("link: remove address %v: %w", a.prefix, explain(err))
	}
	return nil
}

// addresses reads the addresses of an interface, or of all for 0.
func (c *Conn) addresses(index int) ([]address, error) {
	ask := rtnetlink.AddressMessage{Family: unix.AF_UNSPEC, Index: uint32(index)}
	data, err := ask.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("link: read addresses: %w", err)
	}
	answer, err := c.read(unix.RTM_GETADDR, netlink.Dump, data)
	if errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("link: interface %d: %w: was it deleted?", index, ErrNoLink)
	}
	if err != nil {
		return nil, fmt.Errorf("link: read addresses: %w", err)
	}
	var all []address
	for _, m := range answer {
		a := address{}
		if err := a.message.UnmarshalBinary(m.Data); err != nil {
			return nil, fmt.Errorf("link: read addresses: %w", err)
		}
		a.index = int(a.message.Index)
		if a.message.Attributes == nil || index != 0 && a.index != index {
			continue
		}
		// With an address at the far end, IFA_LOCAL is the host's and IFA_ADDRESS the other's.
		ip := a.message.Attributes.Local
		if ip == nil {
			ip = a.message.Attributes.Address
		}
		addr, ok := addrOf(ip)
		if !ok {
			continue // of a family that is neither IPv4 nor IPv6
		}
		a.prefix = netip.PrefixFrom(addr, int(a.message.PrefixLength))
		all = append(all, a)
	}
	return all, nil
}

// addrOf keeps what the kernel says: four bytes are IPv4, sixteen are IPv6, also those of ::ffff:0:0/96.
func addrOf(ip net.IP) (netip.Addr, bool) { return netip.AddrFromSlice(ip) }

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
