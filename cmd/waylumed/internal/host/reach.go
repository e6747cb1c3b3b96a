package host

import (
	"fmt"
	"net"
	"net/netip"
)

// Reachability says how the world reaches the address that clients are told.
type Reachability int

// What is known of it.
const (
	AsTold    Reachability = iota // the person said where
	Public                        // the host has a public address
	Nearby                        // the host has a private one, and so is behind NAT for the rest of the world
	NowhereAt                     // the host has no address but the loopback
)

// Primary is the address from which this host would reach the internet. Connecting a UDP socket asks the system for its
// route and sends nothing; the addresses are for documentation and route nowhere.
func Primary() netip.Addr {
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

// sharedRange is what carriers number their customers from (RFC 6598): no address to be reached at either.
func sharedRange() netip.Prefix { return netip.MustParsePrefix("100.64.0.0/10") }

// Reach says what an address is good for.
func Reach(addr netip.Addr) (endpoint string, r Reachability) {
	switch {
	case !addr.IsValid():
		return "127.0.0.1", NowhereAt
	case addr.IsPrivate() || sharedRange().Contains(addr):
		return addr.String(), Nearby
	}
	return addr.String(), Public
}

// Advice is what a person should know about the endpoint, if anything.
func (r Reachability) Advice(names Names, endpoint string, port uint16) string {
	switch r {
	case Nearby:
		return fmt.Sprintf("%s is a private address: devices in this network reach it. For others, forward UDP port %d\n"+
			"to this host and say %s with the name or the public address that the world sees.", endpoint, port, names.Endpoint)
	case NowhereAt:
		return fmt.Sprintf("This host has no address but the loopback: say %s with one that devices reach.", names.Endpoint)
	case Public:
		return fmt.Sprintf("This is the host's own address. If devices cannot connect, let UDP port %d through the firewall.", port)
	}
	return ""
}
