package path

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// account is what an account's peers share.
type account struct {
	id    string
	meter *quota.Meter
	rates rates
}

// peer is one peer on the packet path. What packets read is atomic or never changes. There are many more of them than move
// packets: what only those need is made by the first packet, see leaves.
type peer struct {
	key     wgtypes.Key
	addrs   []netip.Addr // changed only under Apply; the array is that of the state
	meter   *quota.Meter
	rates   rates
	account atomic.Pointer[account]
	member  atomic.Pointer[isolation.Member]
	leaves  atomic.Pointer[leaves]
	// gone stops what is still on its way when the peer has left.
	gone atomic.Bool
	// shaped: the schedulers have leaves of the peer's. Guarded by rates.mu.
	shaped bool
}

// Key is for the table of peers.
func (p *peer) Key() wgtypes.Key { return p.key }

// take counts n bytes against the peer and its account, or neither, and says whether they may pass.
func (p *peer) take(d quota.Direction, n int) bool {
	if a := p.account.Load(); a != nil {
		return quota.TakeBoth(p.meter, a.meter, d, n) != quota.Refuse
	}
	return p.meter.Take(d, n) != quota.Refuse
}

// rates decides between a subject's speed limit and the rate it falls to when its budget is used up. Who changes the limit, or
// puts it in force, holds mu.
type rates struct {
	mu       sync.Mutex
	limit    shaping.Limit
	throttle *shaping.Limit // nil: the end of the budget does not slow the subject
}

// setLocked replaces the limits, unless one is out of range.
func (r *rates) setLocked(limit, throttle shaping.Limit, action quota.Action) error {
	if err := errors.Join(limit.Validate(), throttle.Validate()); err != nil {
		return err
	}
	r.limit, r.throttle = limit, nil
	if action == quota.Throttle {
		r.throttle = &throttle
	}
	return nil
}

// limitLocked is the limit that is to be in force.
func (r *rates) limitLocked(depleted bool) shaping.Limit {
	limit := r.limit
	if r.throttle != nil && depleted {
		limit.Download = tighter(limit.Download, r.throttle.Download)
		limit.Upload = tighter(limit.Upload, r.throttle.Upload)
	}
	return limit
}

func tighter(a, b shaping.Rate) shaping.Rate {
	if a == shaping.Unlimited || b != shaping.Unlimited && b < a {
		return b
	}
	return a
}

// Stats reads the counters that the query asks for; handshakes and endpoints are the device's to add.
func (p *Path) Stats(query wgnode.StatsQuery) wgnode.Stats {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var s wgnode.Stats
	if query.All {
		s.Peers = make([]wgnode.PeerStats, 0, p.peers.Len())
		for peer := range p.peers.All() {
			s.Peers = append(s.Peers, peer.stats())
		}
		for _, a := range p.accounts {
			s.Accounts = append(s.Accounts, a.stats())
		}
	}
	for _, key := range query.Peers {
		if peer, ok := p.peers.Get(key); ok && !query.All {
			s.Peers = append(s.Peers, peer.stats())
		}
	}
	for _, id := range query.Accounts {
		if a, ok := p.accounts[id]; ok && !query.All {
			s.Accounts = append(s.Accounts, a.stats())
		}
	}
	s.Dropped = p.drops.totals()
	return s
}

func (p *peer) stats() wgnode.PeerStats {
	return wgnode.PeerStats{PublicKey: p.key, Counters: p.meter.Counters(), Depleted: p.meter.Depleted()}
}

func (a *account) stats() wgnode.AccountStats {
	return wgnode.AccountStats{ID: a.id, Counters: a.meter.Counters(), Depleted: a.meter.Depleted()}
}
