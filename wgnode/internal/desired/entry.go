package desired

import (
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// entry is a [wgnode.PeerState] as a set keeps it. Sets of hundreds of thousands of peers are mostly this.
type entry struct {
	key     wgtypes.Key
	addrs   []netip.Addr
	account *membership // nil: none
	limit   shaping.Limit
	budget  quota.Budget
	// counters are what the peer began with.
	counters quota.Counters
	rare     *rare // nil: all of it is zero
}

// membership is an account that peers name.
type membership struct {
	id    string
	peers int
}

// rare is what most peers have none of.
type rare struct {
	presharedKey wgtypes.Key
	labels       map[string]string
	throttle     shaping.Limit
	keepalive    time.Duration
}

func newEntry(p *wgnode.PeerState, a *membership) *entry {
	e := &entry{key: p.PublicKey, addrs: p.Addrs, account: a, limit: p.SpeedLimit, budget: p.Budget, counters: p.Counters}
	if p.PresharedKey != (wgtypes.Key{}) || p.Labels != nil || p.Throttle != (shaping.Limit{}) || p.Keepalive != 0 {
		e.rare = &rare{p.PresharedKey, p.Labels, p.Throttle, p.Keepalive}
	}
	return e
}

// Key is for the table of peers.
func (e *entry) Key() wgtypes.Key { return e.key }

// state is the peer's state again.
func (e *entry) state() wgnode.PeerState {
	p := wgnode.PeerState{
		PublicKey: e.key, Addrs: e.addrs, Account: e.accountID(), SpeedLimit: e.limit, Budget: e.budget, Counters: e.counters,
	}
	if r := e.rare; r != nil {
		p.PresharedKey, p.Labels, p.Throttle, p.Keepalive = r.presharedKey, r.labels, r.throttle, r.keepalive
	}
	return p
}

// accountID is empty for a peer without an account.
func (e *entry) accountID() string {
	if e.account == nil {
		return ""
	}
	return e.account.id
}
