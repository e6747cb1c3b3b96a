package desired

import (
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// entry is a [wgnode.PeerState] as a set keeps it, without the key that it is kept under. Sets of hundreds of thousands of peers
// are mostly this.
type entry struct {
	addrs    []netip.Addr
	account  string
	limit    shaping.Limit
	budget   quota.Budget
	counters quota.Counters
	rare     *rare // nil: all of it is zero
}

// rare is what most peers have none of.
type rare struct {
	presharedKey wgtypes.Key
	labels       map[string]string
	throttle     shaping.Limit
	keepalive    time.Duration
}

func newEntry(p *wgnode.PeerState) *entry {
	e := &entry{addrs: p.Addrs, account: p.Account, limit: p.SpeedLimit, budget: p.Budget, counters: p.Counters}
	if p.PresharedKey != (wgtypes.Key{}) || p.Labels != nil || p.Throttle != (shaping.Limit{}) || p.Keepalive != 0 {
		e.rare = &rare{p.PresharedKey, p.Labels, p.Throttle, p.Keepalive}
	}
	return e
}

// state is the peer's state again.
func (e *entry) state(key wgtypes.Key) wgnode.PeerState {
	p := wgnode.PeerState{
		PublicKey: key, Addrs: e.addrs, Account: e.account, SpeedLimit: e.limit, Budget: e.budget, Counters: e.counters,
	}
	if r := e.rare; r != nil {
		p.PresharedKey, p.Labels, p.Throttle, p.Keepalive = r.presharedKey, r.labels, r.throttle, r.keepalive
	}
	return p
}
