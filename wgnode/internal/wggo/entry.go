package wggo

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// entry is a registered peer: about 220 bytes with its places in the registry's maps, as long as it was never heard of.
type entry struct {
	key wgtypes.Key

	// door is held by who brings the peer in, has it leave, or tells devices of it. It comes before registry.mu.
	door sync.Mutex

	psk       *wgtypes.Key    // nil for none; guarded by registry.mu, as all below
	others    *[]netip.Prefix // allowed IPs that are in neither v4 nor v6; nil for none
	was       *history        // nil when it never was in a device
	now       *activity       // nil while it is in no device
	v4        [4]byte         // if has4
	v6        [16]byte        // if has6
	keepalive uint16          // seconds
	flags     entryFlags
}

// entryFlags are what would be three bytes of every peer, and with them another class of the allocator's.
type entryFlags uint8

const (
	has4 entryFlags = 1 << iota
	has6
	gone // it is not registered any more
)

// Key is for the table of peers.
func (e *entry) Key() wgtypes.Key { return e.key }

func (e *entry) is(f entryFlags) bool { return e.flags&f != 0 }

// history is what is known of a peer from when it was in devices.
type history struct {
	replay replay
	traffic
	visits []visit // by lane; none that is at its end is looked at
}

// traffic is outer bytes.
type traffic struct{ received, sent uint64 }

// visit is what a peer left behind in one device.
type visit struct {
	lane     uint32 // its id
	shaken   int64  // nanoseconds since the epoch; 0 for never
	endpoint netip.AddrPort
}

// activity is a peer that is in a device, or in two.
type activity struct {
	at     []*presence
	by     atomic.Pointer[lane] // by which it is reached
	keeper *lane                // the lane that sends keepalives, if any are to be sent
	shaken time.Time            // the last handshake that the pair looked at
}

// presence is a peer in one device.
type presence struct {
	lane   *lane
	shared [32]byte // what the two keys share
	stay   stay
	owes   bool   // keepalives, from when it has been answered on
	opened uint64 // bytes of initiations that the device was given opened: it counts what it reads from its bind
}

// in is the peer's presence in a lane, or nil.
func (e *entry) in(l *lane) *presence {
	if e.now == nil {
		return nil
	}
	for _, p := range e.now.at {
		if p.lane == l {
			return p
		}
	}
	return nil
}

// past is the peer's history, made if it has none.
func (e *entry) past() *history {
	if e.was == nil {
		e.was = new(history)
	}
	return e.was
}

// add counts what a device has counted of a peer in one stay.
func (h *history) add(s PeerStatus, p *presence) {
	h.received, h.sent = h.received+s.ReceivedBytes+p.opened, h.sent+s.SentBytes
}

// note keeps what a peer leaves behind in a lane. What it left in lanes that are at their end is forgotten.
func (h *history) note(v visit, live []*lane) {
	kept := make([]visit, 0, 1)
	for _, old := range h.visits {
		if old.lane != v.lane && byID(live, old.lane) != nil {
			kept = append(kept, old)
		}
	}
	kept = append(kept, v)
	h.visits = kept
}

// last is the visit in a living lane to which a packet for the peer goes: that with the last handshake, and an endpoint.
func (h *history) last(live []*lane) (v visit, l *lane) {
	if h == nil {
		return visit{}, nil
	}
	for _, some := range h.visits {
		if found := byID(live, some.lane); found != nil && some.endpoint.IsValid() && (l == nil || some.shaken > v.shaken) {
			v, l = some, found
		}
	}
	return v, l
}

func byID(lanes []*lane, id uint32) *lane {
	for _, l := range lanes {
		if l.id == id {
			return l
		}
	}
	return nil
}

// told is the peer as the owner said. Addresses that another peer has taken since are not its own any more.
func (e *entry) told() Peer {
	p := Peer{PublicKey: e.key, AllowedIPs: e.prefixes(), Keepalive: time.Duration(e.keepalive) * time.Second}
	if e.psk != nil {
		p.PresharedKey = *e.psk
	}
	return p
}

// toldIfActive is nothing for a peer that no device has to be told of.
func (e *entry) toldIfActive() Peer {
	if e.now == nil {
		return Peer{}
	}
	return e.told()
}

func (p Peer) same(other Peer) bool {
	return p.PublicKey == other.PublicKey && p.PresharedKey == other.PresharedKey && p.Keepalive == other.Keepalive &&
		slices.Equal(p.AllowedIPs, other.AllowedIPs)
}

func (e *entry) prefixes() []netip.Prefix {
	n := 2
	if e.others != nil {
		n += len(*e.others)
	}
	all := make([]netip.Prefix, 0, n)
	if e.is(has4) {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4(e.v4), 32))
	}
	if e.is(has6) {
		all = append(all, netip.PrefixFrom(netip.AddrFrom16(e.v6), 128))
	}
	if e.others != nil {
		all = append(all, *e.others...)
	}
	return all
}
