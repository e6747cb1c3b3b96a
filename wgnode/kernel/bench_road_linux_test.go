//go:build linux

package kernel_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// road is a host that forwards between two Ethernet links, one in the place of a tunnel's interface, and both far ends of them.
// Packets are sent straight to the link at one end, and counted at the other, where nobody takes them.
type road struct {
	host, ends *netns.Namespace
	counts     *rtnetlink.Conn // at the ends
	ways       [2]way
}

// way is one direction of a road.
type way struct {
	socket int
	// frames go round and round.
	frames [][]byte
	// exit is the index of the link at the far end.
	exit uint32
}

const (
	wayUp = iota
	wayDown
)

// The links of a road: the host's, and their far ends.
const (
	tunnelLink, outerLink = rigInterface, uplink
	tunnelEnd, outerEnd   = "peers0", "world0"
)

// roadServer is what all peers talk to.
const roadServer = "198.51.100.9"

// deadEnd is the Ethernet address that hosts send to: nobody's, so that the far end drops packets before it looks into them.
const deadEnd = "02:00:00:00:00:99"

// newRoad makes a road for the packets of flows of the first n peers, the same number for each.
func newRoad(b *testing.B, n, flows int) *road {
	r := &road{host: netns.New(b), ends: netns.New(b)}
	r.host.Do(b, func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("0"), 0),
			os.WriteFile("/proc/sys/net/ipv4/conf/default/rp_filter", []byte("0"), 0))
	})
	for _, l := range []struct{ host, end, addr, neighbour, to string }{
		{tunnelLink, tunnelEnd, "192.0.2.1/24", "192.0.2.2", "10.0.0.0/8"},
		{outerLink, outerEnd, "203.0.113.1/24", "203.0.113.2", "198.51.100.0/24"},
	} {
		netns.Veth(b, netns.End{Namespace: r.host, Name: l.host, Addrs: []netip.Prefix{netip.MustParsePrefix(l.addr)}},
			netns.End{Namespace: r.ends, Name: l.end})
		netns.AddRoute(b, r.host, l.host, netip.MustParsePrefix(l.to), netip.MustParseAddr(l.neighbour))
		r.do(b, shellStep{"ip", "neigh", "add", l.neighbour, "lladdr", deadEnd, "dev", l.host, "nud", "permanent"})
	}
	var err error
	r.counts, err = rtnetlink.Dial(&netlink.Config{NetNS: r.ends.FD()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.counts.Close()) })
	r.ways[wayUp] = r.way(b, tunnelLink, tunnelEnd, outerEnd)
	r.ways[wayDown] = r.way(b, outerLink, outerEnd, tunnelEnd)
	server := netip.AddrPortFrom(netip.MustParseAddr(roadServer), 9)
	for i := range flows {
		const first = 40_000
		client := netip.AddrPortFrom(benchPeer(i % n).Addrs[0], uint16(first+i/n))
		for w, flow := range [][2]netip.AddrPort{wayUp: {client, server}, wayDown: {server, client}} {
			frame := &r.ways[w].frames
			*frame = append(*frame, datagram((*frame)[0], flow[0], flow[1]))
		}
	}
	for w := range r.ways {
		r.ways[w].frames = r.ways[w].frames[1:]
	}
	return r
}

// do runs programs on the host.
func (r *road) do(b *testing.B, steps ...shellStep) {
	b.Helper()
	r.host.Do(b, func() error { return runAll(steps) })
}

// way is a direction whose only frame is an Ethernet header as yet.
func (r *road) way(b *testing.B, host, entrance, exit string) (w way) {
	to := r.link(b, host)
	var from *net.Interface
	r.ends.Do(b, func() (err error) {
		if from, err = net.InterfaceByName(entrance); err != nil {
			return err
		}
		last, err := net.InterfaceByName(exit)
		if err != nil {
			return err
		}
		w.exit = uint32(last.Index)
		w.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // and receive nothing
		if err != nil {
			return err
		}
		return errors.Join(unix.Bind(w.socket, &unix.SockaddrLinklayer{Ifindex: from.Index}),
			unix.SetsockoptInt(w.socket, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1))
	})
	b.Cleanup(func() { require.NoError(b, unix.Close(w.socket)) })
	ethernet := bytes.Join([][]byte{to.HardwareAddr, from.HardwareAddr, {0x08, 0x00}}, nil)
	w.frames = [][]byte{ethernet}
	return w
}

// datagram is the smallest frame of Ethernet, with UDP.
func datagram(ethernet []byte, from, to netip.AddrPort) []byte {
	const smallest = 60
	frame := append(bytes.Clone(ethernet), make([]byte, smallest-len(ethernet))...)
	ip := header.IPv4(frame[len(ethernet):])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: unix.IPPROTO_UDP,
		SrcAddr: tcpip.AddrFrom4(from.Addr().As4()), DstAddr: tcpip.AddrFrom4(to.Addr().As4()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(ip[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: from.Port(), DstPort: to.Port(), Length: uint16(len(udp))}) // without a checksum
	return frame
}

// received is how many packets have come to the far end.
func (r *road) received(w way) (uint64, error) {
	link, err := r.counts.Link.Get(w.exit)
	if err != nil {
		return 0, err
	}
	if link.Attributes == nil || link.Attributes.Stats64 == nil {
		return 0, fmt.Errorf("link %d has no statistics", w.exit)
	}
	return link.Attributes.Stats64.RXPackets, nil
}

// rate sends packets for so long, each flow's at least once, and returns how many a second came through; and the part of those
// sent that did not.
func (r *road) rate(direction int, window time.Duration) (perSecond, lost float64, err error) {
	w := r.ways[direction]
	before, err := r.received(w)
	if err != nil {
		return 0, 0, err
	}
	runtime.LockOSThread() // the host's work is done where the packets are sent
	defer runtime.UnlockOSThread()
	const burst = 64
	var vectors [burst]unix.Iovec
	var messages [burst]unix.Mmsghdr
	for i := range messages {
		messages[i].Hdr.Iov = &vectors[i]
		messages[i].Hdr.SetIovlen(1)
	}
	sent, began, elapsed := 0, time.Now(), time.Duration(0)
	for elapsed < window || sent < len(w.frames) {
		for i := range vectors {
			frame := w.frames[(sent+i)%len(w.frames)]
			vectors[i].Base = &frame[0]
			vectors[i].SetLen(len(frame))
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(w.socket), uintptr(unsafe.Pointer(&messages[0])), burst, 0, 0, 0)
		if errno != 0 {
			return 0, 0, fmt.Errorf("sendmmsg: %w", errno)
		}
		sent += int(n)
		elapsed = time.Since(began)
	}
	const drain = 20 * time.Millisecond // of what waits in queues, on another processor
	time.Sleep(drain)
	after, err := r.received(w)
	if err != nil {
		return 0, 0, err
	}
	came := float64(after - before)
	return came / elapsed.Seconds(), 1 - came/float64(sent), nil
}

// unclassified is how many packets of a device passed its HTB without a class. Few do: the host's own, about itself.
func (r *road) unclassified(b *testing.B, dev string) (packets uint64) {
	r.host.Do(b, func() error {
		out, err := (shellStep{"tc", "-s", "qdisc", "show", "dev", dev}).output()
		if err != nil {
			return err
		}
		const field = "direct_packets_stat "
		_, rest, ok := bytes.Cut(out, []byte(field))
		if !ok {
			return fmt.Errorf("%s has no HTB: %s", dev, out)
		}
		_, err = fmt.Sscan(string(rest), &packets)
		return err
	})
	return packets
}

// link is a link of the host's.
func (r *road) link(b *testing.B, name string) (l *net.Interface) {
	r.host.Do(b, func() (err error) {
		l, err = net.InterfaceByName(name)
		return err
	})
	return l
}
