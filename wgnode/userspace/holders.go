package userspace

import (
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/internal/addrtable"
)

// holders has the holdings of the peers that have flows. A peer's first flow makes them, and sweep gives them back when there is
// none left, so that a peer without costs nothing:
//
//	none --- Lookup ---> in use --- sweep: idle ---> aside --- sweep: idle still ---> none
//	                       ^                           |
//	                       +--------- Lookup ----------+
//
// Who looked them up just before they were set aside has begun his flow long before the next sweep.
type holders struct {
	limits Limits
	// owner returns the peer that has an address.
	owner func(netip.Addr) (wgtypes.Key, bool)
	table addrtable.Table[*holdings] // those in use, by the addresses that were looked up

	mu      sync.Mutex
	all     map[wgtypes.Key]*holdings // those aside, too
	leaving map[wgtypes.Key]bool      // get no holdings
	closed  bool
}

// Lookup returns the holdings of the peer that has addr. There are none for a peer that is about to leave.
func (hs *holders) Lookup(addr netip.Addr) (*holdings, bool) {
	if h, ok := hs.table.Lookup(addr); ok {
		return h, true
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h, ok := hs.table.Lookup(addr); ok {
		return h, true
	}
	key, ok := hs.owner(addr)
	if !ok || hs.closed || hs.leaving[key] {
		return nil, false
	}
	h := hs.all[key]
	if h == nil {
		h = newHoldings(key, hs.limits)
		hs.all[key] = h
	}
	h.addrs = append(h.addrs, addr)
	hs.table.Set(h.addrs[len(h.addrs)-1:], h)
	return h, true
}

// drop ends the flows of peers that leave or change address. They get no new ones until let.
func (hs *holders) drop(keys []wgtypes.Key) {
	if len(keys) == 0 {
		return
	}
	hs.mu.Lock()
	ended := make([]*holdings, 0, len(hs.all))
	for _, key := range keys {
		hs.leaving[key] = true
		if h := hs.all[key]; h != nil {
			hs.asideLocked(h)
			delete(hs.all, key)
			ended = append(ended, h)
		}
	}
	hs.mu.Unlock()
	for _, h := range ended {
		h.close()
	}
}

// let ends what drop began, when owner knows of it.
func (hs *holders) let() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	clear(hs.leaving)
}

func (hs *holders) asideLocked(h *holdings) {
	hs.table.Delete(h.addrs)
	h.addrs = nil
}

// sweep ends the flows on which nothing has moved for too long, and sets aside what has none, or removes it.
func (hs *holders) sweep(now time.Time) {
	hs.mu.Lock()
	all := make([]*holdings, 0, len(hs.all))
	for _, h := range hs.all {
		all = append(all, h)
	}
	hs.mu.Unlock()
	for _, h := range all {
		if h.sweep(now); h.idle(now) {
			hs.rest(h)
		}
	}
}

func (hs *holders) rest(h *holdings) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	switch {
	case hs.all[h.peer] != h: // dropped meanwhile
	case len(h.addrs) > 0:
		hs.asideLocked(h)
	default:
		delete(hs.all, h.peer)
		h.close()
	}
}

// close ends all flows; there are none from then on.
func (hs *holders) close() {
	hs.mu.Lock()
	hs.closed = true
	all := hs.all
	hs.all = nil
	hs.mu.Unlock()
	for _, h := range all {
		h.close()
	}
}
