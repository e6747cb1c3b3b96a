package userspace

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/shaping"
)

// gsoMaxSize is the largest TCP segment that the stack hands to the link, which cuts it to the path MTU.
const gsoMaxSize = 1 << 16

// link is the stack's only interface: what the stack sends goes to the packet path, what peers send is injected. Packets
// that peers sent were authenticated by WireGuard, so their checksums are not verified a second time; merging segments
// needs that too.
type link struct {
	mtu       uint32
	newPacket func(n int) *shaping.Packet
	toPeers   func([]*shaping.Packet)
	divert    func(raw []byte) bool // sees each packet, and takes what need not go through the stack; set before packets come

	dispatcher atomic.Pointer[dispatcher]
	mergers    sync.Pool // *merger
	batches    sync.Pool // *[]*shaping.Packet
}

// dispatcher boxes the interface for an atomic pointer.
type dispatcher struct{ stack.NetworkDispatcher }

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

func newLink(mtu int, newPacket func(int) *shaping.Packet, toPeers func([]*shaping.Packet)) *link {
	l := &link{mtu: uint32(mtu), newPacket: newPacket, toPeers: toPeers, divert: func([]byte) bool { return false }}
	l.batches.New = func() any { return new([]*shaping.Packet) }
	l.mergers.New = func() any { return new(merger) }
	return l
}

// WritePackets cuts what the stack sends into packets of the tunnel's size and passes them on. It may wait for the tunnel.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	batch := l.batches.Get().(*[]*shaping.Packet)
	pkts := (*batch)[:0]
	for _, pkt := range list.AsSlice() {
		if pkt.GSOOptions.Type == stack.GSONone {
			pkts = append(pkts, l.whole(pkt))
		} else {
			pkts = l.segments(pkts, pkt)
		}
	}
	l.toPeers(pkts)
	clear(pkts)
	*batch = pkts
	l.batches.Put(batch)
	return list.Len(), nil
}

func (l *link) whole(pkt *stack.PacketBuffer) *shaping.Packet {
	out := l.newPacket(pkt.Size())
	n := 0
	for _, s := range pkt.AsSlices() {
		n += copy(out.Data[n:], s)
	}
	out.Flow = flowHash(out.Data)
	return out
}

// inject delivers packets that peers sent, to the stack unless they need not go there, merging the TCP segments of a batch.
func (l *link) inject(raws [][]byte) {
	d := l.dispatcher.Load()
	if d == nil {
		return
	}
	m := l.mergers.Get().(*merger)
	for _, raw := range raws {
		if !l.divert(raw) {
			m.add(raw)
		}
	}
	m.deliver(d)
	l.mergers.Put(m)
}

// Attach connects the stack, or disconnects it when d is nil.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&dispatcher{d})
}

func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }
func (l *link) MTU() uint32      { return l.mtu }

// SetMTU does nothing: the MTU is the tunnel's.
func (l *link) SetMTU(uint32)                    {}
func (l *link) MaxHeaderLength() uint16          { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress   { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}
func (l *link) Wait()                                   {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) Close()                                  {}
func (l *link) SetOnCloseAction(func())                 {}
func (l *link) GSOMaxSize() uint32                      { return gsoMaxSize }
func (l *link) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }

// Numbers under which the stack knows the two families.
const (
	protocolIPv4 = ipv4.ProtocolNumber
	protocolIPv6 = ipv6.ProtocolNumber
)
