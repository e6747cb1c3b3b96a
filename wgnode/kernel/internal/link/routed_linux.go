package link

import (
	"net/netip"
	"slices"
)

// Routed reports whether routes of table main lead all of the prefixes to an interface.
func (c *Conn) Routed(index int, prefixes []netip.Prefix) (bool, error) {
	have, err := c.routes(index)
	if err != nil {
		return false, err
	}
	for _, p := range prefixes {
		p = p.Masked()
		if !slices.ContainsFunc(have, func(r route) bool { return r.prefix.Bits() <= p.Bits() && r.prefix.Contains(p.Addr()) }) {
			return false, nil
		}
	}
	return true, nil
}
