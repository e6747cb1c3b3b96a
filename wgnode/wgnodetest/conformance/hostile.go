package conformance

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// testSpoofing: a packet with a source address that is not its sender's goes nowhere, and nobody is charged for it.
func testSpoofing(t *testing.T, h Harness) {
	w := newWorld(t, h)
	a, victim := w.join(wgnode.PeerSpec{}), w.join(wgnode.PeerSpec{})
	server4, server6 := w.serveUDP(w.at(internet4), same), w.serveUDP(w.at(internet6), same)
	for _, c := range []*client{a, victim} {
		w.allowed(c, []place{{network: "udp", to: server4.addr}, {network: "udp", to: server6.addr}})
	}
	received := victim.quiet()
	w.comesToRest(func() uint64 { c := w.counters(victim); return c.Download + c.Upload }, "the victim goes on to move data")
	before := w.counters(victim)
	count4, count6 := server4.arrived.Load(), server6.arrived.Load()
	const port = 7777
	for _, src := range []netip.Addr{
		victim.v4, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.77.0.1"), other4, netip.MustParseAddr("127.0.0.1"),
		netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("224.0.0.1"),
	} {
		a.send(wgnodetest.UDPPacket(netip.AddrPortFrom(src, port), server4.addr, []byte("spoofed")))
		a.send(wgnodetest.UDPPacket(netip.AddrPortFrom(src, port), netip.AddrPortFrom(victim.v4, port), []byte("spoofed")))
		a.send(tcpPacket(netip.AddrPortFrom(src, port), server4.addr, header.TCPFlagSyn))
	}
	for _, src := range []netip.Addr{
		victim.v6, netip.MustParseAddr("2001:db8::99"), netip.IPv6LinkLocalAllNodes(), netip.IPv6Loopback(), netip.IPv6Unspecified(),
		netip.MustParseAddr("::ffff:10.0.0.2"),
	} {
		a.send(wgnodetest.UDPPacket(netip.AddrPortFrom(src, port), server6.addr, []byte("spoofed")))
		a.send(wgnodetest.UDPPacket(netip.AddrPortFrom(src, port), netip.AddrPortFrom(victim.v6, port), []byte("spoofed")))
	}
	// What was sent after them has arrived, so that they would have.
	a.send(wgnodetest.UDPPacket(netip.AddrPortFrom(a.v4, port), server4.addr, []byte("honest")))
	a.send(wgnodetest.UDPPacket(netip.AddrPortFrom(a.v6, port), server6.addr, []byte("honest")))
	arrived := func() [2]uint64 { return [2]uint64{server4.arrived.Load() - count4, server6.arrived.Load() - count6} }
	w.eventually(func() bool { return arrived()[0] > 0 && arrived()[1] > 0 }, "an honest packet is lost")
	_ = a.quiet()
	require.Equal(t, [2]uint64{1, 1}, arrived(), "spoofed packets arrived")
	require.Equal(t, received, victim.quiet(), "answers to spoofed packets reached the victim")
	require.Equal(t, before, w.counters(victim), "the victim was charged")
}

// hostile is a packet that no honest stack sends.
type hostile struct {
	name string
	pkt  []byte
}

// testHostile: whatever bytes a peer sends, they are dropped and counted, they reach nobody, and everything goes on. What
// comes after them on the same way has arrived before it is said that they did not.
func testHostile(t *testing.T, h Harness) {
	w := newWorld(t, h)
	a, neighbour := w.join(wgnode.PeerSpec{SpeedLimit: both(mbit(50))}), w.join(wgnode.PeerSpec{})
	server4, server6 := w.serveUDP(w.at(internet4), silent), w.serveUDP(w.at(internet6), silent)
	theirs := w.begin(neighbour, tcpDown(internet4))
	f := w.begin(a, tcpUp(internet6)) // the session is up, and has something to lose
	w.eventually(func() bool { return f.delivered() > 0 && theirs.delivered() > 0 }, "the flows do not begin")

	evil := malformed(netip.AddrPortFrom(a.v4, 9), server4.addr)
	evil = append(evil, malformed(netip.AddrPortFrom(a.v6, 9), server6.addr)...)
	random := rand.New(rand.NewPCG(1, 2))
	for _, e := range slices.Repeat(evil, 4) {
		pkt := slices.Clone(e.pkt)
		for range min(3, len(pkt)) {
			pkt[random.IntN(len(pkt))] = byte(random.Uint32())
		}
		evil = append(evil, hostile{e.name + ", mutated", pkt})
	}
	// First those that get as far as the dataplane, each of which it counts; then those that WireGuard itself drops.
	var carried, other []hostile
	for _, e := range evil {
		switch handed := throughWireGuard(e.pkt, a.cfg); {
		case wellFormed(handed): // padding, or chance, has mended it
		case handed != nil:
			carried = append(carried, e)
		default:
			other = append(other, e)
		}
	}
	before := w.dropped()
	for _, e := range carried {
		a.send(e.pkt)
	}
	due := before + uint64(len(carried))
	if w.traits.DropsUncounted {
		due = before
	}
	w.eventually(func() bool { return w.dropped() >= due }, "malformed packets are not counted as dropped")
	for _, e := range other {
		a.send(e.pkt)
	}
	t.Logf("%d malformed packets that WireGuard carries, and %d that it drops itself", len(carried), len(other))
	w.allowed(a, []place{w.place("internet", "tcp", w.at(internet4)), w.place("internet", "udp", w.at(internet6))})
	progress := []uint64{f.delivered(), theirs.delivered()}
	w.eventually(func() bool { return f.delivered() > progress[0] && theirs.delivered() > progress[1] }, "flows do not go on")
	require.Nil(t, f.broken.Load(), "the sender's own connection broke")
	require.Nil(t, theirs.broken.Load(), "a neighbour's connection broke")
	require.Zero(t, server4.arrived.Load()+server6.arrived.Load(), "malformed packets arrived")
}

// malformed takes packets apart in every way that a parser may stumble over.
func malformed(src, dst netip.AddrPort) []hostile {
	whole := wgnodetest.UDPPacket(src, dst, make([]byte, 64))
	var list []hostile
	add := func(name string, change func(pkt []byte) []byte) {
		list = append(list, hostile{fmt.Sprintf("%s, IPv%d", name, whole[0]>>4), change(slices.Clone(whole))})
	}
	for n := range whole {
		add(fmt.Sprintf("the first %d bytes", n), func(pkt []byte) []byte { return pkt[:n] })
	}
	ip := headerLen(src.Addr())
	// Truncated, with a length field that says so: these are whole packets for WireGuard.
	for n := ip; n < ip+header.UDPMinimumSize; n++ {
		add(fmt.Sprintf("cut to %d bytes", n), func(pkt []byte) []byte { return setLength(pkt[:n]) })
	}
	add("UDP length too large", func(pkt []byte) []byte {
		binary.BigEndian.PutUint16(pkt[ip+4:], 2000)
		return pkt
	})
	add("UDP length too small", func(pkt []byte) []byte {
		binary.BigEndian.PutUint16(pkt[ip+4:], 3)
		return pkt
	})
	tcp := tcpPacket(src, dst, header.TCPFlagSyn)
	for _, offset := range []byte{0, 4, 15} {
		add(fmt.Sprintf("TCP data offset %d", offset), func([]byte) []byte {
			pkt := slices.Clone(tcp)
			pkt[ip+12] = offset << 4
			return pkt
		})
	}
	for n := ip; n < len(tcp); n++ {
		add(fmt.Sprintf("TCP cut to %d bytes", n), func([]byte) []byte { return setLength(slices.Clone(tcp)[:n]) })
	}
	add("version 5", func(pkt []byte) []byte {
		pkt[0] = 5<<4 | pkt[0]&15
		return pkt
	})
	if src.Addr().Is4() {
		return append(list, malformed4(src, dst)...)
	}
	return append(list, malformed6(src, dst)...)
}

func malformed4(src, dst netip.AddrPort) []hostile {
	options := func(bytes ...byte) []byte {
		whole := wgnodetest.UDPPacket(src, dst, make([]byte, 64))
		pkt := append(slices.Clone(whole[:header.IPv4MinimumSize]), bytes...)
		pkt[0] = 4<<4 | byte(len(pkt)/4)
		return setLength(append(pkt, whole[header.IPv4MinimumSize:]...))
	}
	short := wgnodetest.UDPPacket(src, dst, make([]byte, 64))
	short[0] = 4<<4 | 3
	long := wgnodetest.UDPPacket(src, dst, nil)
	long[0] = 4<<4 | 15
	end := wgnodetest.UDPPacket(src, dst, make([]byte, 64))
	binary.BigEndian.PutUint16(end[6:], 0x1fff) // the last fragment would end past the largest packet
	rewrite := tcpPacket(src, dst, header.TCPFlagAck)
	binary.BigEndian.PutUint16(rewrite[6:], 1) // RFC 3128
	return []hostile{
		{"header of 12 bytes", short}, {"header longer than the packet", long}, {"fragment past the end", end},
		{"fragment over a TCP header", rewrite},
		{"loose source route", options(131, 7, 4, 192, 0, 2, 1, 0)}, {"strict source route", options(137, 7, 4, 192, 0, 2, 1, 0)},
		{"option of length 0", options(7, 0, 0, 0)}, {"option past the header", options(7, 40, 4, 0)},
	}
}

func malformed6(src, dst netip.AddrPort) []hostile {
	chain := func(first byte, headers ...byte) []byte {
		return setLength(append(ipPacket(first, src.Addr(), dst.Addr(), nil), headers...))
	}
	var endless []byte
	for range 100 {
		endless = append(endless, 60, 0, 1, 4, 0, 0, 0, 0)
	}
	route := append([]byte{17, 2, 0, 1, 0, 0, 0, 0}, dst.Addr().AsSlice()...)
	last := []byte{17, 0, 0xff, 0xf8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	return []hostile{
		{"endless chain of headers", chain(60, endless...)}, {"extension past the end", chain(60, 17, 200, 1, 4, 0, 0, 0, 0)},
		{"half an extension", chain(0, 17, 0, 1)}, {"source route", chain(43, route...)},
		{"half a fragment header", chain(44, 17, 0, 0, 0)}, {"fragment past the end", chain(44, last...)},
	}
}

// setLength writes the length of a packet into its header.
func setLength(pkt []byte) []byte {
	if pkt[0]>>4 == 4 {
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
		ip := header.IPv4(pkt)
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
		return pkt
	}
	binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-header.IPv6MinimumSize))
	return pkt
}

// wellFormed reports whether nothing is wrong with a packet, checksums aside.
func wellFormed(pkt []byte) bool {
	var info packet.Info
	return info.Parse(pkt) == nil
}

// throughWireGuard returns what WireGuard hands on of a packet from a device: it pads to a multiple of 16 bytes, goes by the
// version, the length and the source address in the header, and drops without a word what is wrong with those, for which
// this returns nil.
func throughWireGuard(pkt []byte, device wgnode.ClientConfig) []byte {
	const multiple = 16
	padded := make([]byte, max(len(pkt), min((len(pkt)+multiple-1)/multiple*multiple, device.MTU)))
	copy(padded, pkt)
	var n int
	var src netip.Addr
	switch {
	case len(padded) >= header.IPv4MinimumSize && padded[0]>>4 == 4:
		if n = int(binary.BigEndian.Uint16(padded[2:])); n < header.IPv4MinimumSize {
			return nil
		}
		src = netip.AddrFrom4([4]byte(padded[12:]))
	case len(padded) >= header.IPv6MinimumSize && padded[0]>>4 == 6:
		n = int(binary.BigEndian.Uint16(padded[4:])) + header.IPv6MinimumSize
		src = netip.AddrFrom16([16]byte(padded[8:]))
	}
	if n > len(padded) || !slices.Contains(device.Addrs, src) {
		return nil
	}
	return padded[:n]
}
