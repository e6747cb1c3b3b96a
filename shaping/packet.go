package shaping

import (
	"sync"
	"sync/atomic"
)

// Packet is one IP packet on its way through a [Scheduler]. It comes from [Scheduler.NewPacket] and is owned by one party
// at a time: the caller until Enqueue, the scheduler until Output or a drop, then whoever Output hands it to, who calls
// [Packet.Free] in the end. A Packet that was made by other means (&Packet{Data: b}) is as good; nothing pools it.
type Packet struct {
	// Data is the IP packet. It may be shortened or, within the buffer that NewPacket gave, lengthened, until Enqueue.
	Data []byte
	// Owner is the caller's, for Output to find what the packet belongs to.
	Owner any
	// Flow tells the flows of one leaf apart: packets of equal Flow keep their order and share one queue.
	Flow uint32

	buffer   []byte
	pool     *packetPool
	next     *Packet // in its flow's queue
	queuedAt int64
	repeated bool // carries what its flow sent before
}

// Free gives the packet back. The caller must not touch it, nor its Data, again.
func (p *Packet) Free() {
	pool := p.pool
	if pool == nil {
		return
	}
	p.Data, p.Owner, p.next = nil, nil, nil
	if pool.live != nil {
		pool.live.Add(-1)
	}
	if len(p.buffer) == pool.size {
		pool.packets.Put(p)
	}
}

// WithHeadroom returns Data with the [Config.Headroom] bytes in front of it, for a layer below that writes its header
// there. Data must still begin where NewPacket had it begin.
func (p *Packet) WithHeadroom() []byte {
	if p.pool == nil || p.pool.headroom+len(p.Data) > len(p.buffer) {
		return p.Data
	}
	return p.buffer[:p.pool.headroom+len(p.Data)]
}

// packetPool recycles packets whose buffers hold one packet of the largest size; a longer one is left to the collector.
type packetPool struct {
	packets  sync.Pool
	headroom int
	size     int           // of a buffer
	live     *atomic.Int64 // packets taken and not given back, counted by tests only: the line would be shared by all peers
}

func newPacketPool(mtu, headroom int) *packetPool {
	pool := &packetPool{headroom: headroom, size: (headroom + mtu + 63) &^ 63}
	pool.packets.New = func() any { return &Packet{buffer: make([]byte, pool.size), pool: pool} }
	return pool
}

func (pool *packetPool) get(n int) *Packet {
	n = max(n, 0)
	if pool.live != nil {
		pool.live.Add(1)
	}
	var p *Packet
	if pool.headroom+n <= pool.size {
		p = pool.packets.Get().(*Packet)
	} else {
		p = &Packet{buffer: make([]byte, pool.headroom+n), pool: pool}
	}
	p.Data, p.Flow = p.buffer[pool.headroom:pool.headroom+n], 0
	return p
}
