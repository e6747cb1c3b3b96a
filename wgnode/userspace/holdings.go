package userspace

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Why a peer may not open a flow.
var (
	errTooFast  = errors.New("userspace: the peer opens flows too fast")
	errTooMany  = errors.New("userspace: the peer has too many flows")
	errNoMemory = errors.New("userspace: the peer's connections hold all of its memory")
	errGone     = errors.New("userspace: the peer has left")
)

// Buffers of one TCP connection, in bytes for one direction. The n-th connection gets a tenth of the n-th part of its
// peer's memory: the first few are fast, and with the default limits there is still room when there are two thousand.
const (
	minTCPBuffer = 8 << 10
	maxTCPBuffer = 1 << 20
	tcpShare     = 10
)

// holdings is what one peer holds of the node's resources, and the bounds on it.
type holdings struct {
	peer   wgtypes.Key
	addrs  []netip.Addr // by which it can be looked up; guarded by holders.mu
	limits Limits
	ctx    context.Context // ends when the peer leaves
	cancel context.CancelFunc
	rate   *rate.Limiter
	queued atomic.Int64 // bytes of datagrams that wait for the host's sockets

	mu        sync.Mutex
	gone      bool                                   // guarded by mu, as all below
	tcp       map[stack.TransportEndpointID]*tcpFlow // connections, those being opened included
	datagrams map[datagramKey]*datagramFlow          // UDP flows and echo identifiers
	count     map[string]int                         // of datagrams, by network
	memory    int                                    // bytes of TCP buffers not taken yet, by closing neither
	closing   closing
}

func newHoldings(peer wgtypes.Key, limits Limits) *holdings {
	h := &holdings{
		peer: peer, limits: limits, memory: limits.TCPMemory,
		rate:      rate.NewLimiter(rate.Limit(limits.NewFlowsPerSecond), limits.NewFlowsBurst),
		tcp:       make(map[stack.TransportEndpointID]*tcpFlow),
		datagrams: make(map[datagramKey]*datagramFlow),
		count:     make(map[string]int),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// addTCP reserves a place and buffers for a connection. It returns nil and no error when the connection is already being
// opened: the peer has repeated its SYN. One that has come to its end makes room for another with its ports.
func (h *holdings) addTCP(id stack.TransportEndpointID) (*tcpFlow, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if former, ok := h.tcp[id]; ok {
		if former.endpoint() == nil {
			return nil, nil
		}
		h.removeTCPLocked(former) // it has left the stack, or the SYN were its own: only its goroutine has yet to notice
	}
	buffer := min(max(h.limits.TCPMemory/(2*tcpShare*(len(h.tcp)+1)), minTCPBuffer), maxTCPBuffer)
	if missing := 2*buffer - h.memory; missing > 0 {
		h.memory += h.closing.free(missing)
	}
	switch {
	case h.gone:
		return nil, errGone
	case len(h.tcp) >= h.limits.TCPFlows:
		return nil, errTooMany
	case 2*buffer > h.memory:
		return nil, errNoMemory
	case !h.rate.Allow():
		return nil, errTooFast
	}
	h.memory -= 2 * buffer
	f := &tcpFlow{id: id, buffer: buffer}
	f.active.Store(time.Now().UnixNano())
	h.tcp[id] = f
	return f, nil
}

// removeTCP gives back what addTCP reserved, but for what the stack has yet to bring to the peer. A second call does nothing.
func (h *holdings) removeTCP(f *tcpFlow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeTCPLocked(f)
}

// openTCP is the flow that addTCP made, for the first who asks; nil for any other: then it is that one's to run.
func (h *holdings) openTCP(id stack.TransportEndpointID) *tcpFlow {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.tcp[id]
	if f == nil || f.opened {
		return nil
	}
	f.opened = true
	return f
}

func (h *holdings) removeTCPLocked(f *tcpFlow) {
	if h.tcp[f.id] != f {
		return
	}
	delete(h.tcp, f.id)
	h.memory += 2 * f.buffer
	if ep := f.endpoint(); ep != nil && !ended(ep) {
		h.memory += h.closing.add(ep, f.buffer) - f.buffer
	}
}

// datagram returns the flow that key names; fresh reports that it was made by this call and is the caller's to run. Where
// there is no room, the flow that was idle longest ends.
func (h *holdings) datagram(key datagramKey) (f *datagramFlow, fresh bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, ok := h.datagrams[key]; ok {
		return f, false, nil
	}
	if h.gone {
		return nil, false, errGone
	}
	if !h.rate.Allow() {
		return nil, false, errTooFast
	}
	limit := h.limits.UDPFlows
	if key.network == networkICMP {
		limit = h.limits.EchoFlows
	}
	if h.count[key.network] >= limit {
		h.endOldestLocked(key.network)
	}
	f = newDatagramFlow(h.ctx, key)
	h.datagrams[key] = f
	h.count[key.network]++
	return f, true, nil
}

func (h *holdings) endOldestLocked(network string) {
	var oldest *datagramFlow
	for key, f := range h.datagrams {
		if key.network == network && (oldest == nil || f.active.Load() < oldest.active.Load()) {
			oldest = f
		}
	}
	h.endDatagramLocked(oldest)
}

// endDatagram ends a flow. A second call does nothing.
func (h *holdings) endDatagram(f *datagramFlow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endDatagramLocked(f)
}

func (h *holdings) endDatagramLocked(f *datagramFlow) {
	if f != nil && h.datagrams[f.key] == f {
		delete(h.datagrams, f.key)
		h.count[f.key.network]--
		f.cancel()
	}
}

// sweep ends the flows on which nothing has moved for longer than the limits allow.
func (h *holdings) sweep(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.tcp {
		if now.UnixNano()-f.active.Load() > int64(h.limits.TCPIdle) {
			f.abort()
		}
	}
	for _, f := range h.datagrams {
		if now.UnixNano()-f.active.Load() > int64(h.limits.UDPIdle) {
			h.endDatagramLocked(f)
		}
	}
}

// idle reports that the peer holds nothing, and may begin as many flows at once as one that is new.
func (h *holdings) idle(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memory += h.closing.letGo()
	return len(h.tcp)+len(h.datagrams)+len(h.closing.waiting) == 0 && h.queued.Load() == 0 && h.rate.TokensAt(now) >= float64(h.rate.Burst())
}

// close ends everything the peer holds. What is being opened gives up; nothing new can begin.
func (h *holdings) close() {
	h.cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	for _, f := range h.tcp {
		f.abort()
	}
	h.closing.abort()
	for _, f := range h.datagrams {
		h.endDatagramLocked(f)
	}
}
