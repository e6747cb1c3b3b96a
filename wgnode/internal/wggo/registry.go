package wggo

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gaissmai/bart"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/keytable"
)

// registry is all peers that may connect, whether they are in a device or not. Reading it takes a lock that changes hold for
// microseconds. The zero value is empty.
type registry struct {
	mu     sync.RWMutex
	peers  keytable.Map[*entry] // guarded by mu, as all below
	hosts4 map[[4]byte]*entry   // by whole addresses, which nearly all are
	hosts6 map[[16]byte]*entry
	wide   bart.Table[*entry] // by what is wider than an address
	live   []*lane            // those that have a key of the node's
	active int                // peers in devices, each counted for each device, and those that are on their way in
}

// get is a registered peer, or nil.
func (r *registry) get(key wgtypes.Key) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, _ := r.peers.Get(key)
	return e
}

// lookupLocked is who an address belongs to, or nil.
func (r *registry) lookupLocked(addr netip.Addr) *entry {
	var e *entry
	switch {
	case addr.Is4():
		e = r.hosts4[addr.As4()]
	case addr.Is6():
		e = r.hosts6[addr.As16()]
	}
	if e == nil {
		e, _ = r.wide.Lookup(addr)
	}
	return e
}

func (r *registry) lookup(addr netip.Addr) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lookupLocked(addr)
}

// set registers peers, or changes what is registered of them. It returns those that are in devices and differ, which have to be told:
// first who has lost a prefix to another peer.
func (r *registry) set(peers []Peer) (tell []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts4 == nil {
		r.hosts4, r.hosts6 = make(map[[4]byte]*entry), make(map[[16]byte]*entry)
	}
	var robbed, changed []*entry
	for _, p := range peers {
		e, ok := r.peers.Get(p.PublicKey)
		if !ok {
			e = &entry{key: p.PublicKey}
			r.peers.Set(e)
		}
		before := e.toldIfActive()
		e.psk = nil
		if psk := p.PresharedKey; psk != (wgtypes.Key{}) {
			e.psk = &psk
		}
		e.keepalive = uint16(p.Keepalive / time.Second)
		robbed = append(robbed, r.placeLocked(e, p.AllowedIPs)...)
		if after := e.toldIfActive(); !after.same(before) {
			changed = append(changed, e)
		}
	}
	return append(robbed, changed...)
}

// placeLocked has prefixes belong to a peer, and those that it had to nobody. It returns whom they were taken from of those that
// are in devices.
func (r *registry) placeLocked(e *entry, prefixes []netip.Prefix) (robbed []*entry) {
	r.clearLocked(e)
	for _, prefix := range prefixes {
		prefix = prefix.Masked()
		if had := r.ownerLocked(prefix); had == e {
			continue
		} else if had != nil {
			had.lose(prefix)
			if had.now != nil {
				robbed = append(robbed, had)
			}
		}
		r.giveLocked(e, prefix)
	}
	return robbed
}

func (r *registry) clearLocked(e *entry) {
	for _, prefix := range e.prefixes() {
		switch addr := prefix.Addr(); {
		case !prefix.IsSingleIP():
			r.wide.Delete(prefix)
		case addr.Is4():
			delete(r.hosts4, addr.As4())
		default:
			delete(r.hosts6, addr.As16())
		}
	}
	e.flags &^= has4 | has6
	e.others = nil
}

func (r *registry) ownerLocked(prefix netip.Prefix) *entry {
	switch addr := prefix.Addr(); {
	case !prefix.IsSingleIP():
		e, _ := r.wide.Get(prefix)
		return e
	case addr.Is4():
		return r.hosts4[addr.As4()]
	default:
		return r.hosts6[addr.As16()]
	}
}

func (r *registry) giveLocked(e *entry, prefix netip.Prefix) {
	addr := prefix.Addr()
	single := prefix.IsSingleIP()
	switch {
	case !single:
		r.wide.Insert(prefix, e)
	case addr.Is4():
		r.hosts4[addr.As4()] = e
	default:
		r.hosts6[addr.As16()] = e
	}
	switch {
	case single && addr.Is4() && !e.is(has4):
		e.v4, e.flags = addr.As4(), e.flags|has4
	case single && addr.Is6() && !e.is(has6):
		e.v6, e.flags = addr.As16(), e.flags|has6
	case e.others == nil:
		e.others = &[]netip.Prefix{prefix}
	default:
		*e.others = append(*e.others, prefix)
	}
}

// lose has a prefix not be the peer's any more.
func (e *entry) lose(prefix netip.Prefix) {
	switch addr := prefix.Addr(); {
	case e.is(has4) && prefix.IsSingleIP() && addr.Is4() && addr.As4() == e.v4:
		e.flags &^= has4
	case e.is(has6) && prefix.IsSingleIP() && addr.Is6() && addr.As16() == e.v6:
		e.flags &^= has6
	case e.others != nil:
		*e.others = slices.DeleteFunc(*e.others, func(p netip.Prefix) bool { return p == prefix })
	}
}

// drop has a peer not be registered any more, and returns the lanes that have it yet. The caller holds the peer's door.
func (r *registry) drop(e *entry) (in []*lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.is(gone) {
		return nil
	}
	e.flags |= gone
	r.clearLocked(e)
	r.peers.Delete(e.key)
	if e.now != nil {
		for _, p := range e.now.at {
			delete(p.lane.present, e)
			in = append(in, p.lane)
		}
		r.active -= len(in)
		e.now = nil
	}
	return in
}

// all are the peers at this moment.
func (r *registry) all() []*entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*entry, 0, r.peers.Len())
	for e := range r.peers.All() {
		all = append(all, e)
	}
	return all
}

// open has peers enter a lane from now on.
func (r *registry) open(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = append(slices.Clone(r.live), l) // readers of before keep theirs
}

// shut has no peer be in a lane any more, or enter it; what its device has counted of them is kept.
func (r *registry) shut(l *lane, last Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = slices.DeleteFunc(slices.Clone(r.live), func(other *lane) bool { return other == l })
	for _, s := range last.Peers {
		if e, ok := r.peers.Get(s.PublicKey); ok {
			if p := e.in(l); p != nil {
				e.past().add(s, p)
			}
		}
	}
	for e, p := range l.present {
		r.leaveLocked(e, p)
	}
}

// leaveLocked has a peer not be in a lane any more.
func (r *registry) leaveLocked(e *entry, p *presence) {
	delete(p.lane.present, e)
	r.active--
	if e.now.at = slices.DeleteFunc(slices.Clone(e.now.at), func(other *presence) bool { return other == p }); len(e.now.at) == 0 {
		e.now = nil
		return
	}
	e.now.by.CompareAndSwap(p.lane, e.now.at[0].lane)
}
