package wggo

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// routes say which lane each peer is reached by. Lookups take no lock. The zero value has none.
type routes struct {
	table atomic.Pointer[bart.Table[*route]]

	mu    sync.Mutex // serialises changes
	peers map[wgtypes.Key]*route
}

// route is the way to one peer; all its addresses have the same.
type route struct {
	by atomic.Pointer[lane]

	prefixes  []netip.Prefix // guarded by routes.mu, as all below
	keepalive time.Duration  // that the peer is to have
	keeper    *lane          // the lane that sends them
	shaken    time.Time      // the last handshake that was looked at
}

func (r *routes) lookup(addr netip.Addr) *route {
	table := r.table.Load()
	if table == nil {
		return nil
	}
	found, _ := table.Lookup(addr)
	return found
}

// set makes routes for peers that have none, and takes note of what peers are told.
func (r *routes) set(peers []Peer, by *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteLocked(peers, by)
	r.placeLocked(peers)
}

// noteLocked makes routes, which no address leads to yet.
func (r *routes) noteLocked(peers []Peer, by *lane) {
	if r.peers == nil {
		r.peers = make(map[wgtypes.Key]*route, len(peers))
	}
	for _, p := range peers {
		to := r.peers[p.PublicKey]
		if to == nil {
			to = new(route)
			to.by.Store(by)
			r.peers[p.PublicKey] = to
		}
		to.keepalive, to.keeper = p.Keepalive, to.by.Load()
	}
}

// placeLocked has the addresses of peers lead to them, and those that they had to nobody.
func (r *routes) placeLocked(peers []Peer) {
	table := r.tableLocked()
	arrivals := new(bart.Table[*route])
	for _, p := range peers {
		to := r.peers[p.PublicKey]
		if slices.Equal(to.prefixes, p.AllowedIPs) {
			continue
		}
		table = without(table, to)
		to.prefixes = slices.Clone(p.AllowedIPs)
	}
	for _, p := range peers { // also who keeps an address takes it from who had it
		for _, prefix := range p.AllowedIPs {
			arrivals.Insert(prefix, r.peers[p.PublicKey])
		}
	}
	r.table.Store(table.UnionPersist(arrivals))
}

func (r *routes) remove(keys []wgtypes.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	table := r.tableLocked()
	for _, key := range keys {
		if to := r.peers[key]; to != nil {
			table = without(table, to)
			delete(r.peers, key)
		}
	}
	r.table.Store(table)
}

func (r *routes) tableLocked() *bart.Table[*route] {
	if table := r.table.Load(); table != nil {
		return table
	}
	return new(bart.Table[*route])
}

// without is a table in which nothing leads to a peer any more; what is another's by now stays.
func without(table *bart.Table[*route], to *route) *bart.Table[*route] {
	for _, prefix := range to.prefixes {
		if has, ok := table.Get(prefix); ok && has == to {
			table = table.DeletePersist(prefix)
		}
	}
	return table
}
