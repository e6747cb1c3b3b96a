package wggo

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ratelimiter"
)

const (
	// gateQueue is how many initiations wait, as many as wireguard-go has wait. What comes to a full queue is dropped.
	gateQueue = device.QueueHandshakeSize
	// gateLoad is from how many on the node is under load, for underLoad at least: then a sender first has to show that it gets
	// what is sent to its address (WireGuard paper, section 5.4.7). wireguard-go has the same rule.
	gateLoad  = gateQueue / 8
	underLoad = device.UnderLoadAfterTime
	// gateWorkersMost keeps the device's own queue of handshakes far from its load, with answersBurst: see gate.
	gateWorkersMost = 32
	// answersRate in a second is how many answers to the node's handshakes devices are given; each takes 0.25 ms.
	answersRate  = 1000
	answersBurst = 64
)

// gate reads every handshake initiation before a device does, and gives it to the device of the key that it is for, with its sender
// brought in. What is not of a registered peer, or was there before, is dropped here: a device would do the same, after more work.
//
// It is also what WireGuard has against floods: a bounded queue, few workers, and, under load, cookies and a limit for each address.
// Devices have that, too, with cookies of another secret, and a client keeps one cookie alone: were both under load, it would never
// get in. So a device never comes under load: no initiation goes through its queue, as workers call it, and of answers to its own
// handshakes, which do, it gets those alone that have an index that it has sent, and not many at a time.
type gate struct {
	reg     *registry
	bouncer *bouncer
	queue   chan knock
	loaded  atomic.Int64 // until when the node is under load, in nanoseconds since the epoch
	limit   ratelimiter.Ratelimiter
	answers *rate.Limiter
}

// knock is an initiation and where it came from.
type knock struct {
	message message
	from    conn.Endpoint
}

func newGate(reg *registry, b *bouncer) *gate {
	g := &gate{reg: reg, bouncer: b, queue: make(chan knock, gateQueue), answers: rate.NewLimiter(answersRate, answersBurst)}
	g.limit.Init()
	return g
}

// sift takes the initiations out of what was received, and answers that nobody waits for. It decrypts nothing and never waits. A
// message of size 0 is none to wireguard-go.
func (g *gate) sift(bufs [][]byte, sizes []int, eps []conn.Endpoint) {
	for i, buf := range bufs {
		if sizes[i] < device.MinMessageSize {
			continue
		}
		switch messageType(buf) {
		case device.MessageInitiationType:
			if sizes[i] == device.MessageInitiationSize {
				select {
				case g.queue <- knock{message(buf[:device.MessageInitiationSize]), eps[i]}:
				default:
				}
			}
			sizes[i] = 0
		case device.MessageResponseType:
			if !g.awaited(binary.LittleEndian.Uint32(buf[8:])) {
				sizes[i] = 0
			}
		case device.MessageCookieReplyType:
			if !g.awaited(binary.LittleEndian.Uint32(buf[4:])) {
				sizes[i] = 0
			}
		}
	}
}

// awaited reports whether an index is that of a handshake of a device, and there were not too many answers of late.
func (g *gate) awaited(index uint32) bool {
	g.reg.mu.RLock()
	live := g.reg.live
	g.reg.mu.RUnlock()
	for _, l := range live {
		if l.indices.has(index) {
			return g.answers.Allow()
		}
	}
	return false
}

// gateWorkers is how many workers a gate has.
func gateWorkers() int { return min(max(2, runtime.NumCPU()), gateWorkersMost) }

// work sees to initiations until the context ends.
func (g *gate) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-g.queue:
			g.receive(&k)
		}
	}
}

// receive sees to one initiation.
func (g *gate) receive(k *knock) {
	l, id := g.addressee(&k.message)
	if l == nil || g.underLoad() && !g.vouched(l, id, k) {
		return
	}
	c, ok := id.read(&k.message)
	if !ok {
		return
	}
	e := g.reg.get(c.key)
	if e == nil {
		return
	}
	shared, present := g.shared(e, l)
	if !present {
		if shared, ok = id.shared(c.key[:]); !ok {
			return
		}
	}
	stamp, ok := c.prove(shared)
	if !ok || !present && !g.bouncer.room() {
		return
	}
	e.door.Lock()
	defer e.door.Unlock()
	if l.identity.Load() != id {
		return // the secret is that of another key than the device has by now
	}
	if p, err := g.bouncer.greet(e, l, shared, stamp); err == nil && l.handshake(k) {
		g.bouncer.heard(e, p)
	}
}

// addressee is the lane with whose public key the first MAC is made.
func (g *gate) addressee(m *message) (*lane, *identity) {
	g.reg.mu.RLock()
	live := g.reg.live
	g.reg.mu.RUnlock()
	for _, l := range live {
		if id := l.identity.Load(); id != nil && id.macs.CheckMAC1(m[:]) {
			return l, id
		}
	}
	return nil, nil
}

// shared is what a peer's key and a lane's share, if the peer is in the lane.
func (g *gate) shared(e *entry, l *lane) (secret [32]byte, present bool) {
	g.reg.mu.RLock()
	defer g.reg.mu.RUnlock()
	if p := e.in(l); p != nil {
		return p.shared, true
	}
	return secret, false
}

func (g *gate) underLoad() bool {
	now := time.Now()
	if len(g.queue) >= gateLoad {
		g.loaded.Store(now.Add(underLoad).UnixNano())
		return true
	}
	return g.loaded.Load() > now.UnixNano()
}

// vouched reports whether the sender has shown that it gets what is sent to its address, and did not come too often; else it is sent
// what it needs to show it. Nothing is remembered of who has not.
func (g *gate) vouched(l *lane, id *identity, k *knock) bool {
	if id.macs.CheckMAC2(k.message[:], k.from.DstToBytes()) {
		return g.limit.Allow(k.from.DstIP())
	}
	index := binary.LittleEndian.Uint32(k.message[initiationIndex:])
	reply, err := id.macs.CreateReply(k.message[:], index, k.from.DstToBytes())
	if err != nil {
		return false // no randomness: it will come again
	}
	packet := make([]byte, 0, device.MessageCookieReplySize)
	packet = binary.LittleEndian.AppendUint32(packet, reply.Type)
	packet = binary.LittleEndian.AppendUint32(packet, reply.Receiver)
	packet = append(append(packet, reply.Nonce[:]...), reply.Cookie[:]...)
	_ = laneBind{l}.Send([][]byte{packet}, k.from) // as good as lost on the way
	return false
}

// handshake has the lane's device take an initiation of a peer that it has, and answer it, and reports whether it was taken.
func (l *lane) handshake(k *knock) bool {
	m := device.MessageInitiation{
		Type: device.MessageInitiationType, Sender: binary.LittleEndian.Uint32(k.message[initiationIndex:]),
		Ephemeral: device.NoisePublicKey(k.message[initiationEphemeral:initiationStatic]),
		Static:    [initiationTimestamp - initiationStatic]byte(k.message[initiationStatic:]),
		Timestamp: [initiationMACs - initiationTimestamp]byte(k.message[initiationTimestamp:]),
	}
	peer := l.dev.ConsumeMessageInitiation(&m)
	if peer == nil { // it was less than 20 ms after another one
		return false
	}
	peer.SetEndpointFromPacket(k.from)
	_ = peer.SendHandshakeResponse() // the device logs why not, and the peer tries again
	return true
}
