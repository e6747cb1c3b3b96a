package up

import (
	"fmt"
	"net"
	"net/netip"
)

// reachability says how the world reaches the address that clients are told.
type reachability int

const (
	asTold    reachability = iota // the person said where
	public                        // the host has a public address
	nearby                        // the host has a private one, and so is behind NAT for the rest of the world
	nowhereAt                     // the host has no address but the loopback
)

// primary is the address from which this host would reach the internet. Connecting a UDP socket asks the system for its
// route and sends nothing; the addresses are for documentation and route nowhere.
func primary() netip.Addr {
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		c, err := net.Dial("udp", far)
		if err != nil {
			continue
		}
		addr := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
		_ = c.Close()
		if addr.IsGlobalUnicast() {
			return addr
		}
	}
	return netip.Addr{}
}

// host is what there is to send from.
type host struct {
	interfaces []string
	addrs      []netip.Addr
}

// lookAtHost lists the host's interfaces, but for one that is the node's own, and its addresses.
func lookAtHost(own string) (h host, err error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return host{}, err
	}
	for _, i := range interfaces {
		if i.Name != own && i.Name != own+"-up" {
			h.interfaces = append(h.interfaces, i.Name)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return host{}, err
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			h.addrs = append(h.addrs, prefix.Addr())
		}
	}
	return h, nil
}

// sharedRange is what carriers number their customers from (RFC 6598): no address to be reached at either.
func sharedRange() netip.Prefix { return netip.MustParsePrefix("100.64.0.0/10") }

// reach says what an address is good for.
func reach(addr netip.Addr) (endpoint string, r reachability) {
	switch {
	case !addr.IsValid():
		return "127.0.0.1", nowhereAt
	case addr.IsPrivate() || sharedRange().Contains(addr):
		return addr.String(), nearby
	}
	return addr.String(), public
}

// advice is what a person should know about the endpoint, if anything.
func (r reachability) advice(endpoint string, port uint16) string {
	switch r {
	case nearby:
		return fmt.Sprintf("%s is a private address: devices in this network reach it. For others, forward UDP port %d\n"+
			"to this host and say --endpoint with the name or the public address that the world sees.", endpoint, port)
	case nowhereAt:
		return "This host has no address but the loopback: say --endpoint with one that devices reach."
	case public:
		return fmt.Sprintf("This is the host's own address. If devices cannot connect, let UDP port %d through the firewall.", port)
	}
	return ""
}
