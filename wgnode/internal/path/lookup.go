package path

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
)

// destination reads the destination address of a packet whose header was checked before; of anything else it returns
// the zero address, which no peer has.
func destination(b []byte) netip.Addr {
	switch {
	case len(b) >= packet.IPv4HeaderLen && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[16:20]))
	case len(b) >= packet.IPv6HeaderLen && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[24:40]))
	}
	return netip.Addr{}
}

// lookup returns the peer that has addr, or nil.
func (p *Path) lookup(addr netip.Addr) *peer {
	to, _ := p.table.Lookup(addr)
	return to
}

// memberOf returns the member that has addr, or nil.
func (p *Path) memberOf(addr netip.Addr) *isolation.Member {
	if pr := p.lookup(addr); pr != nil {
		return pr.member.Load()
	}
	return nil
}

// Holder returns the key of the peer that has addr. It waits for nobody.
func (p *Path) Holder(addr netip.Addr) (wgtypes.Key, bool) {
	pr := p.lookup(addr)
	if pr == nil {
		return wgtypes.Key{}, false
	}
	return pr.key, true
}

// inPool reports whether an address is one that peers have or may get.
func (p *Path) inPool(addr netip.Addr) bool {
	for _, prefix := range p.cfg.Pool {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
