package wgnodetest

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// PortBuffer is the number of packets that a [Port] keeps for a reader; more are lost.
const PortBuffer = 4096

// Port is where a test stands for a peer's device, or for the whole internet: it sends IP packets into the dataplane and
// receives those that the dataplane delivers. A port stays the same for the life of its dataplane.
type Port struct {
	send func(packet []byte)
	// received makes the buffer when it is first needed: a dataplane may have many thousands of peers of which few get packets.
	received func() chan []byte
	lost     atomic.Uint64
	// sent and delivered are bytes that a peer sent, of what WireGuard lets it send, and that were for it.
	sent, delivered atomic.Uint64
}

func newPort(send func([]byte)) *Port {
	return &Port{send: send, received: sync.OnceValue(func() chan []byte { return make(chan []byte, PortBuffer) })}
}

// Peer returns the port of the peer with this key, which may be added later. Packets sent while the peer is not there are
// dropped.
func (d *Dataplane) Peer(key wgtypes.Key) *Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.portLocked(key)
}

func (d *Dataplane) portLocked(key wgtypes.Key) *Port {
	p, ok := d.peers[key]
	if !ok {
		p = newPort(nil)
		p.send = func(packet []byte) { d.fromPeer(p, packet) }
		d.peers[key] = p
	}
	return p
}

// Internet returns the port at which packets to all that is not a peer come out. There is no translation of addresses: a
// packet bears the address of the peer that sent it, and one that is sent to a peer's address reaches that peer, asked
// for or not.
func (d *Dataplane) Internet() *Port { return d.internet }

// Send sends one IP packet, which is not kept. It does not wait: a speed limit delays the packet, and does not hold up
// the sender.
func (p *Port) Send(packet []byte) { p.send(packet) }

// Receive returns the next packet that was delivered, or the cause of the end of ctx.
func (p *Port) Receive(ctx context.Context) ([]byte, error) {
	select {
	case packet := <-p.received():
		return packet, nil
	default:
	}
	select {
	case packet := <-p.received():
		return packet, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Pending is the number of packets that wait for Receive.
func (p *Port) Pending() int { return len(p.received()) }

// Lost is the number of packets that were delivered while [PortBuffer] others waited. The dataplane has counted them.
func (p *Port) Lost() uint64 { return p.lost.Load() }

// deliver never waits: a reader that is slow, or that nobody wrote, must not hold up other peers.
func (p *Port) deliver(packets [][]byte) {
	for _, packet := range packets {
		p.delivered.Add(uint64(len(packet)))
		select {
		case p.received() <- bytes.Clone(packet):
		default:
			p.lost.Add(1)
		}
	}
}
