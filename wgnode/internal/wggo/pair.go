package wggo

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// pair is what holds while there are two lanes: the owner of port and TUN, which passes on to the guest what is the guest's.
//
// A handshake initiation is for the device whose public key its first MAC is made with, any other message for the one that chose the
// receiver index in it (WireGuard paper, section 5.4). The gate sees to initiations. Of the others it is known of the guest, which
// began after the pair did. Both may have chosen one index: so the owner is given such messages, too, and drops what it cannot
// decrypt.
//
// A packet for a peer goes out by the lane that the peer's last one came in by. Nothing that is not authentic changes that, or is
// remembered.
type pair struct {
	reg          *registry
	owner, guest *lane
	// gate is held by senders while they send, and by whoever opens the port anew: none is sent without a socket, or its mark.
	gate sync.RWMutex

	looks atomic.Int32 // how often handshakes are to be looked at yet
	moved atomic.Bool  // a way has changed since keepalives were seen to
	stop  chan struct{}
	done  sync.WaitGroup
}

// newPair makes a pair of lanes.
func newPair(reg *registry, owner, guest *lane) *pair {
	return &pair{reg: reg, owner: owner, guest: guest, stop: make(chan struct{})}
}

// received passes on what the owner has received for the guest.
func (p *pair) received(bufs [][]byte, sizes []int, eps []conn.Endpoint) {
	picked := make([]int, 0, conn.IdealBatchSize)
	for i, buf := range bufs {
		if p.forGuest(buf[:sizes[i]]) {
			picked = append(picked, i)
		}
	}
	if len(picked) > 0 {
		p.guest.in.push(bufs, sizes, eps, 0, picked)
	}
}

func (p *pair) forGuest(message []byte) bool {
	if len(message) < device.MinMessageSize {
		return false
	}
	switch messageType(message) {
	case device.MessageResponseType:
		p.lookSoon()
		return p.guest.indices.has(binary.LittleEndian.Uint32(message[8:]))
	case device.MessageCookieReplyType, device.MessageTransportType:
		return p.guest.indices.has(binary.LittleEndian.Uint32(message[4:]))
	}
	return false
}

func messageType(message []byte) uint32 { return binary.LittleEndian.Uint32(message) }

// came notes that a peer's packet came by a lane.
func (p *pair) came(by *lane, packet []byte) {
	from, _ := addrs(packet)
	p.reg.mu.RLock()
	defer p.reg.mu.RUnlock()
	if e := p.reg.lookupLocked(from); e != nil && e.in(by) != nil && e.now.by.Load() != by {
		e.now.by.Store(by)
		p.moved.Store(true)
	}
}

// addrs are the source and the destination of a packet, not valid if it is none.
func addrs(b []byte) (from, to netip.Addr) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	case len(b) >= 40 && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	}
	return netip.Addr{}, netip.Addr{}
}
