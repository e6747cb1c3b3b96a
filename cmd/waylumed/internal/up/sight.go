package up

import (
	"net"
	"net/netip"
)

// sight is what there is of the host to send from.
type sight struct {
	interfaces []string
	addrs      []netip.Addr
}

// lookAtHost lists the host's interfaces, but for one that is the node's own, and its addresses.
func lookAtHost(own string) (h sight, err error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return sight{}, err
	}
	for _, i := range interfaces {
		if i.Name != own && i.Name != own+"-up" {
			h.interfaces = append(h.interfaces, i.Name)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return sight{}, err
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			h.addrs = append(h.addrs, prefix.Addr())
		}
	}
	return h, nil
}
