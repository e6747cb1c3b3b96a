package wggo

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// pair is what holds while there are two lanes: the owner of port and TUN, which passes on to the guest what is the guest's.
//
// A handshake initiation is for the device whose public key its first MAC is made with, any other message for the one that chose the
// receiver index in it (WireGuard paper, section 5.4). That is known of the guest, which began after the pair did. Both may have
// chosen one index: so the owner is given such messages, too, and drops what it cannot decrypt.
//
// A packet for a peer goes out by the lane that the peer's last one came in by. Nothing that is not authentic changes that, or is
// remembered.
type pair struct {
	owner, guest *lane
	mac          device.CookieChecker // of the guest's public key
	indices      indices              // that the guest chose
	routes       routes
	// gate is held by senders while they send, and by whoever opens the port anew: none is sent without a socket, or its mark.
	gate sync.RWMutex

	looks atomic.Int32 // how often handshakes are to be looked at yet
	moved atomic.Bool  // a route has changed since keepalives were seen to
	stop  chan struct{}
	done  sync.WaitGroup
}

// newPair makes a pair of lanes that have the same peers, all of which are the owner's to begin with.
func newPair(owner, guest *lane, guestKey wgtypes.Key, peers []Peer) *pair {
	p := &pair{owner: owner, guest: guest, stop: make(chan struct{})}
	p.mac.Init(device.NoisePublicKey(guestKey.PublicKey()))
	p.routes.set(peers, owner)
	return p
}

// received passes on what the owner has received for the guest. A message of size 0 is none to wireguard-go.
func (p *pair) received(bufs [][]byte, sizes []int, eps []conn.Endpoint) {
	picked := make([]int, 0, conn.IdealBatchSize)
	for i, buf := range bufs {
		if p.forGuest(buf[:sizes[i]]) {
			picked = append(picked, i)
		}
	}
	if len(picked) == 0 {
		return
	}
	p.guest.in.push(bufs, sizes, eps, 0, picked)
	for _, i := range picked {
		if messageType(bufs[i]) == device.MessageInitiationType {
			sizes[i] = 0
		}
	}
}

func (p *pair) forGuest(message []byte) bool {
	if len(message) < device.MinMessageSize {
		return false
	}
	switch messageType(message) {
	case device.MessageInitiationType:
		return len(message) == device.MessageInitiationSize && p.mac.CheckMAC1(message)
	case device.MessageResponseType:
		p.lookSoon()
		return p.indices.has(binary.LittleEndian.Uint32(message[8:]))
	case device.MessageCookieReplyType, device.MessageTransportType:
		return p.indices.has(binary.LittleEndian.Uint32(message[4:]))
	}
	return false
}

// sending learns from what a lane sends.
func (p *pair) sending(by *lane, messages [][]byte) {
	for _, message := range messages {
		kind := messageType(message)
		if kind == device.MessageResponseType {
			p.lookSoon()
		}
		if by == p.guest && (kind == device.MessageInitiationType || kind == device.MessageResponseType) {
			p.indices.add(binary.LittleEndian.Uint32(message[4:]), time.Now())
		}
	}
}

func messageType(message []byte) uint32 { return binary.LittleEndian.Uint32(message) }

// leaves passes on what the owner has read from the TUN for peers of the guest. A packet of size 0 is none to wireguard-go.
func (p *pair) leaves(bufs [][]byte, sizes []int, offset int) {
	picked := make([]int, 0, conn.IdealBatchSize)
	for i, buf := range bufs {
		_, to := addrs(buf[offset : offset+sizes[i]])
		if r := p.routes.lookup(to); r != nil && r.by.Load() == p.guest {
			picked = append(picked, i)
		}
	}
	if len(picked) == 0 {
		return
	}
	p.guest.out.push(bufs, sizes, nil, offset, picked)
	for _, i := range picked {
		sizes[i] = 0
	}
}

// came notes that a peer's packet came by a lane.
func (p *pair) came(by *lane, packet []byte) {
	from, _ := addrs(packet)
	if r := p.routes.lookup(from); r != nil && r.by.Load() != by {
		r.by.Store(by)
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

// set tells both lanes of peers. Those that are new are reached by a lane that the caller says, until they come by the other.
func (p *pair) set(peers []Peer, fresh *lane) error {
	p.routes.mu.Lock()
	defer p.routes.mu.Unlock()
	p.routes.noteLocked(peers, fresh)
	for _, l := range []*lane{p.owner, p.guest} {
		err := l.set(peers, func(peer Peer) time.Duration {
			if p.routes.peers[peer.PublicKey].keeper == l {
				return peer.Keepalive
			}
			return 0
		})
		if err != nil {
			return err
		}
	}
	p.routes.placeLocked(peers)
	return nil
}
