package userspace

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Networks as [Flow] names them.
const (
	networkTCP  = "tcp"
	networkUDP  = "udp"
	networkICMP = "icmp"
)

// maxOpening bounds connections that are being opened on the whole node; each peer's own bound is much lower.
const maxOpening = 1 << 20

// tcpFlow is one TCP connection of a peer: the stack's endpoint on one side, a connection of the host on the other.
type tcpFlow struct {
	id     stack.TransportEndpointID
	buffer int    // bytes, each direction
	burst  int    // bytes towards the peer at once, see burstSize
	quote  []byte // the SYN's headers, for an ICMP error
	active atomic.Int64
	opened bool // somebody runs it; guarded by the holdings' mutex

	mu      sync.Mutex
	aborted bool           // guarded by mu, as all below
	ep      tcpip.Endpoint // nil until the handshake is complete
	host    net.Conn
}

// attach takes the two ends, or reports false when the flow was aborted meanwhile; then they remain the caller's.
func (f *tcpFlow) attach(ep tcpip.Endpoint, host net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.aborted {
		return false
	}
	f.ep, f.host = ep, host
	return true
}

// endpoint is the stack's end, nil if there never was one.
func (f *tcpFlow) endpoint() tcpip.Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ep
}

// isAborted reports whether both ends are reset, or about to be.
func (f *tcpFlow) isAborted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.aborted
}

// abort resets both ends.
func (f *tcpFlow) abort() {
	f.mu.Lock()
	f.aborted = true
	ep, host := f.ep, f.host
	f.mu.Unlock()
	if ep != nil {
		ep.Abort()
	}
	if host != nil {
		resetHost(host)
	}
}

// resetHost closes the host's connection so that its far end sees a reset, where the connection can do that.
func resetHost(host net.Conn) {
	if l, ok := host.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // fails only on a connection that is closed already
	}
	_ = host.Close()
}

// tcpForwarder opens a connection of the host for each connection that a peer opens.
type tcpForwarder struct {
	dp      *Dataplane
	forward *tcp.Forwarder
}

func newTCPForwarder(dp *Dataplane, s *stack.Stack) *tcpForwarder {
	t := &tcpForwarder{dp: dp}
	t.forward = tcp.NewForwarder(s, 0, maxOpening, t.open)
	return t
}

// handle sees each segment that belongs to no connection of the stack. It returns false to have it reset.
func (t *tcpForwarder) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	flags := header.TCP(pkt.TransportHeader().Slice()).Flags()
	if flags&(header.TCPFlagSyn|header.TCPFlagAck|header.TCPFlagRst) != header.TCPFlagSyn {
		return false
	}
	h, ok := t.dp.holdings.Lookup(toAddr(id.RemoteAddress))
	if !ok {
		return true
	}
	f, err := h.addTCP(id)
	switch {
	case errors.Is(err, errTooFast), errors.Is(err, errGone):
		t.dp.drops.add(err)
		return true // the peer repeats its SYN
	case err != nil:
		t.dp.drops.add(err)
		return false
	case f != nil:
		f.burst = t.burst(pkt)
		f.quote = append(append(f.quote, pkt.NetworkHeader().Slice()...), pkt.TransportHeader().Slice()[:quotedTransport]...)
	}
	return t.forward.HandlePacket(id, pkt)
}

// burst is the burst size of a connection that a SYN opens.
func (t *tcpForwarder) burst(syn *stack.PacketBuffer) int {
	mtu, v6 := t.dp.fixed.MTU, syn.NetworkProtocolNumber == protocolIPv6
	options := header.ParseSynOptions(header.TCP(syn.TransportHeader().Slice()).Options(), false)
	return burstSize(segmentSize(options, mtu, v6), mtu, v6)
}

// open dials the host and only then completes the peer's handshake. It runs in a goroutine of its own.
func (t *tcpForwarder) open(r *tcp.ForwarderRequest) {
	id := r.ID()
	h, ok := t.dp.holdings.Lookup(toAddr(id.RemoteAddress))
	if !ok || !t.dp.tasks.enter() {
		r.Complete(false)
		return
	}
	defer t.dp.tasks.leave()
	f := h.openTCP(id)
	if f == nil {
		r.Complete(false)
		return
	}
	defer h.removeTCP(f)

	ctx, cancel := context.WithTimeout(h.ctx, h.limits.DialTimeout)
	host, err := t.dp.dial(ctx, Flow{
		Peer: h.peer, Network: networkTCP,
		Source:      netip.AddrPortFrom(toAddr(id.RemoteAddress), id.RemotePort),
		Destination: netip.AddrPortFrom(toAddr(id.LocalAddress), id.LocalPort),
	})
	cancel()
	if err != nil {
		t.refuse(r, f, err)
		return
	}
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		r.Complete(false)
		resetHost(host)
		return
	}
	r.Complete(false)
	ep.SocketOptions().SetReceiveBufferSize(int64(f.buffer), true)
	ep.SocketOptions().SetSendBufferSize(int64(f.buffer), true)
	ep.SocketOptions().SetDelayOption(false)
	if !f.attach(ep, host) {
		ep.Abort()
		resetHost(host)
		return
	}
	splice(f, ep, &queue, host, &t.dp.buffers)
}

// refuse tells the peer why there is no connection, as the network would.
func (t *tcpForwarder) refuse(r *tcp.ForwarderRequest, f *tcpFlow, err error) {
	switch verdict := classify(err); verdict {
	case dialRefused:
		r.Complete(true)
	case dialSilent:
		r.Complete(false)
	default:
		r.Complete(false)
		t.dp.sendUnreachable(f.quote, verdict)
	}
}

// toAddr converts an address of the stack.
func toAddr(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}
