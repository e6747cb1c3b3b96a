package userspace

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// datagramKey names a UDP flow, or an ICMP echo identifier: then the source port is the identifier and the destination
// port is 0.
type datagramKey struct {
	network             string
	source, destination netip.AddrPort
}

// datagramFlow is a UDP flow or a series of echo requests: a queue towards one connected socket of the host.
type datagramFlow struct {
	key    datagramKey
	ctx    context.Context
	cancel context.CancelFunc
	out    datagramQueue
	active atomic.Int64
}

func newDatagramFlow(ctx context.Context, key datagramKey) *datagramFlow {
	f := &datagramFlow{key: key, out: newDatagramQueue()}
	f.ctx, f.cancel = context.WithCancel(ctx)
	f.touch()
	return f
}

func (f *datagramFlow) touch() { f.active.Store(time.Now().UnixNano()) }

// datagrams carries UDP and ICMP echo between the stack and sockets of the host.
type datagrams struct {
	dp    *Dataplane
	stack *stack.Stack
}

// handleUDP sees each UDP datagram that a peer sent. It returns false to have it answered with port unreachable.
func (d *datagrams) handleUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	d.send(datagramKey{
		network:     networkUDP,
		source:      netip.AddrPortFrom(toAddr(id.RemoteAddress), id.RemotePort),
		destination: netip.AddrPortFrom(toAddr(id.LocalAddress), id.LocalPort),
	}, pkt, 0)
	return true
}

// handleICMP sees each ICMP message of either family that is for no connection of the stack.
func (d *datagrams) handleICMP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	message := pkt.TransportHeader().Slice()
	skip := len(message)
	if skip == 0 { // the stack has not told ICMP header and payload apart
		var ok bool
		if message, ok = pkt.Data().PullUp(header.ICMPv4MinimumSize); !ok {
			return true
		}
	}
	if t := message[0]; t != byte(header.ICMPv4Echo) && t != byte(header.ICMPv6EchoRequest) || len(message) < header.ICMPv4MinimumSize {
		return true
	}
	identifier := uint16(message[4])<<8 | uint16(message[5])
	d.send(datagramKey{
		network:     networkICMP,
		source:      netip.AddrPortFrom(toAddr(id.RemoteAddress), identifier),
		destination: netip.AddrPortFrom(toAddr(id.LocalAddress), 0),
	}, pkt, skip)
	return true
}

// send queues the payload of pkt, with the last headerLen bytes of its headers before it, on its flow.
func (d *datagrams) send(key datagramKey, pkt *stack.PacketBuffer, headerLen int) {
	d.queue(key, headerLen+pkt.Data().Size(), func(buf []byte) {
		n := copy(buf, pkt.TransportHeader().Slice()[:headerLen])
		w := tcpip.SliceWriter(buf[n:])
		_, _ = pkt.Data().ReadTo(&w, true) // the buffer has the payload's size
	})
}

// queue queues a datagram of a size, which fill writes, on its flow.
func (d *datagrams) queue(key datagramKey, size int, fill func([]byte)) {
	h, ok := d.dp.holdings.Lookup(key.source.Addr())
	if !ok {
		return
	}
	f, fresh, err := h.datagram(key)
	if err != nil {
		d.dp.drops.add(err)
		return
	}
	if fresh {
		if !d.dp.tasks.enter() {
			h.endDatagram(f)
			return
		}
		go d.run(h, f)
	}
	if h.queued.Add(int64(size)) > int64(h.limits.DatagramMemory) {
		h.queued.Add(-int64(size))
		d.dp.drops.add(errQueueFull)
		return
	}
	buf := d.dp.buffers.getSize(size)
	fill(*buf)
	if !f.out.push(buf) {
		d.release(h, buf)
		d.dp.drops.add(errQueueFull)
		return
	}
	f.touch()
}

// release gives back a buffer that was queued.
func (d *datagrams) release(h *holdings, buf *[]byte) {
	h.queued.Add(-int64(len(*buf)))
	d.dp.buffers.put(buf)
}

var errQueueFull = errors.New("userspace: the host's socket takes no more")

// run opens the socket of a flow and carries datagrams both ways until the flow ends.
func (d *datagrams) run(h *holdings, f *datagramFlow) {
	defer d.dp.tasks.leave()
	defer h.endDatagram(f)
	defer d.drain(h, f)

	ctx, cancel := context.WithTimeout(f.ctx, h.limits.DialTimeout)
	host, err := d.dp.dial(ctx, Flow{Peer: h.peer, Network: f.key.network, Source: f.key.source, Destination: f.key.destination})
	cancel()
	if err != nil {
		d.unreachable(f, err)
		return
	}
	stop := context.AfterFunc(f.ctx, func() { wind(host) })
	received := make(chan struct{})
	go func() {
		defer close(received)
		defer f.cancel()
		d.receive(f, host)
	}()
	d.transmit(h, f, host)
	stop()
	_ = host.Close()
	<-received
}

// lastWrites is how long the host may take for what a flow that ends has queued.
const lastWrites = 100 * time.Millisecond

// wind has the host's socket receive no more, and send only what is queued.
func wind(host net.Conn) {
	if err := errors.Join(host.SetWriteDeadline(time.Now().Add(lastWrites)), host.SetReadDeadline(time.Unix(1, 0))); err != nil {
		_ = host.Close()
	}
}

// transmit writes queued datagrams to the host, to the last one, as they were counted. What the host says of one concerns that
// one alone: the flow goes on.
func (d *datagrams) transmit(h *holdings, f *datagramFlow, host net.Conn) {
	write := newDatagramWriter(host, &d.dp.buffers)
	refused := func(err error) {
		if f.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			d.unreachable(f, err)
		}
	}
	var bufs []*[]byte
	for ended := false; ; {
		clear(bufs)
		if bufs = f.out.take(bufs); len(bufs) > 0 {
			write(bufs, refused)
			for _, buf := range bufs {
				d.release(h, buf)
			}
			continue
		}
		if ended {
			return
		}
		select {
		case <-f.out.ready:
		case <-f.ctx.Done():
			ended = true
		}
	}
}

// receive passes the host's datagrams to the peer until the socket is closed. A pending error of the socket, such as a
// port unreachable, is passed on as ICMP and does not end the flow.
func (d *datagrams) receive(f *datagramFlow, host net.Conn) {
	const consecutiveErrors = 8 // a socket that only fails is given up
	to := &receiver{datagrams: d, flow: f}
	to.init()
	read := newDatagramReader(host, &d.dp.buffers, to.take)
	for failures := 0; failures < consecutiveErrors && f.ctx.Err() == nil; {
		err := read()
		if to.deliver() > 0 {
			failures = 0
			f.touch()
		}
		if err != nil {
			if f.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			failures++
			d.unreachable(f, err)
		}
	}
}

// drain gives back what the flow has queued, and lets nothing more in.
func (d *datagrams) drain(h *holdings, f *datagramFlow) {
	for _, buf := range f.out.close() {
		d.release(h, buf)
	}
}

// deliver sends one datagram that is longer than the tunnel's packets, or one echo reply, to the peer, through the stack, which cuts
// it into fragments where the tunnel needs it.
func (d *datagrams) deliver(f *datagramFlow, payload []byte) {
	protocol := networkProtocol(f.key.source.Addr())
	remote, local := tcpip.AddrFromSlice(f.key.source.Addr().AsSlice()), tcpip.AddrFromSlice(f.key.destination.Addr().AsSlice())
	route, terr := d.stack.FindRoute(nicID, local, remote, protocol, false)
	if terr != nil {
		return // the stack is closing
	}
	defer route.Release()
	transport := header.UDPProtocolNumber
	var pkt *stack.PacketBuffer
	if f.key.network == networkICMP {
		if transport = asEchoReply(f, payload, local, remote); transport == 0 {
			return
		}
		pkt = stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: int(route.MaxHeaderLength()), Payload: buffer.MakeWithData(payload),
		})
	} else {
		pkt = stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: int(route.MaxHeaderLength()) + header.UDPMinimumSize, Payload: buffer.MakeWithData(payload),
		})
		putUDPHeader(pkt, f.key, route)
	}
	defer pkt.DecRef()
	pkt.TransportProtocolNumber = transport
	_ = route.WritePacket(stack.NetworkHeaderParams{Protocol: transport, TTL: defaultTTL}, pkt) // fails only on a stack that closes
}

func putUDPHeader(pkt *stack.PacketBuffer, key datagramKey, route *stack.Route) {
	length := uint16(header.UDPMinimumSize + pkt.Data().Size())
	udp := header.UDP(pkt.TransportHeader().Push(header.UDPMinimumSize))
	udp.Encode(&header.UDPFields{SrcPort: key.destination.Port(), DstPort: key.source.Port(), Length: length})
	sum := udp.CalculateChecksum(checksum.Combine(route.PseudoHeaderChecksum(header.UDPProtocolNumber, length), pkt.Data().Checksum()))
	if udp.SetChecksum(^sum); ^sum == 0 {
		udp.SetChecksum(0xffff) // 0 would say that there is none (RFC 768)
	}
}

func networkProtocol(addr netip.Addr) tcpip.NetworkProtocolNumber {
	if addr.Is4() {
		return protocolIPv4
	}
	return protocolIPv6
}
