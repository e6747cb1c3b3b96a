package crash

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun/tuntest"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

const (
	port       = 51820
	headers    = header.IPv4MinimumSize + header.UDPMinimumSize
	maxPayload = 1200
	// labelSize is how much of a payload says whose it is, and whether it is to be answered.
	labelSize = 5
	// ports of a client are so many flows of the node.
	ports = 16
)

// far is the server on the internet.
var far = netip.MustParseAddrPort("192.0.2.10:9000")

// tally is what passed of one peer, in bytes of IP packets: at the ends where it came, and where it was sent.
type tally struct{ came, sent quota.Counters }

// internet is this namespace's way out, with the far server behind it. It keeps the tallies of all peers.
type internet struct {
	wire    *os.File
	done    sync.WaitGroup
	mu      sync.Mutex
	tallies []tally // guarded by mu
}

func newInternet(t *testing.T, peers int) *internet {
	t.Helper()
	n := &internet{wire: netns.OpenTUN(t, "uplink0", wgnode.DefaultMTU, 20_000), tallies: make([]tally, peers)}
	netns.AddAddr(t, nil, "uplink0", netip.MustParsePrefix("203.0.113.1/24"))
	netns.AddRoute(t, nil, "uplink0", netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{})
	n.done.Go(n.serve)
	t.Cleanup(func() {
		require.NoError(t, n.wire.Close())
		n.done.Wait()
	})
	return n
}

// serve counts the datagrams for the far server, and answers those that ask for it.
func (n *internet) serve() {
	for buf := make([]byte, 1<<16); ; {
		size, err := n.wire.Read(buf)
		if err != nil {
			return
		}
		packet := buf[:size]
		if !isDatagram(packet) || header.IPv4(packet).DestinationAddress() != tcpip.AddrFrom4(far.Addr().As4()) {
			continue
		}
		data := packet[headers:]
		answer := data[labelSize-1] == 1
		n.count(int(binary.BigEndian.Uint32(data)), func(t *tally) {
			t.came.Upload += uint64(size)
			if answer {
				t.sent.Download += uint64(size)
			}
		})
		if answer {
			turn(packet)
			_, _ = n.wire.Write(packet) // lost like any packet
		}
	}
}

func (n *internet) count(peer int, count func(*tally)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if peer < len(n.tallies) {
		count(&n.tallies[peer])
	}
}

// look returns a copy of the tallies.
func (n *internet) look() []tally {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]tally(nil), n.tallies...)
}

func isDatagram(packet []byte) bool {
	return len(packet) >= headers+labelSize && packet[0] == 0x45 && header.IPv4(packet).TransportProtocol() == header.UDPProtocolNumber
}

// turn makes of a datagram the one that goes back with the same payload: checksums stay right, as they are sums.
func turn(packet []byte) {
	ip, udp := header.IPv4(packet), header.UDP(packet[header.IPv4MinimumSize:])
	src, dst := ip.SourceAddress(), ip.DestinationAddress()
	ip.SetSourceAddress(dst)
	ip.SetDestinationAddress(src)
	from := udp.SourcePort()
	udp.SetSourcePort(udp.DestinationPort())
	udp.SetDestinationPort(from)
}

// datagram is one from a peer to the far server.
func datagram(from netip.Addr, port uint16, peer int, answer bool, payload int) []byte {
	packet := make([]byte, headers+payload)
	data := packet[headers:]
	binary.BigEndian.PutUint32(data, uint32(peer))
	if answer {
		data[labelSize-1] = 1
	}
	src, dst := tcpip.AddrFrom4(from.As4()), tcpip.AddrFrom4(far.Addr().As4())
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(packet)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: src, DstAddr: dst,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(packet[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: port, DstPort: far.Port(), Length: uint16(len(udp))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, src, dst, uint16(len(udp)))
	udp.SetChecksum(^udp.CalculateChecksum(checksum.Checksum(data, sum)))
	return packet
}

// client is a peer's device, which sends as long as it is open.
type client struct {
	link io.Closer
	stop chan struct{}
	done sync.WaitGroup
}

// connect brings up the device of a peer.
func (n *internet) connect(r *rand.Rand, index int, p subject, server wgtypes.Key) (*client, error) {
	c := &client{stop: make(chan struct{})}
	wire := tuntest.NewChannelTUN()
	var err error
	c.link, err = conformance.ConnectWireGuard(wire.TUN(), wgnode.ClientConfig{
		PrivateKey: p.private, ServerKey: server, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String(),
	})
	if err != nil {
		return nil, err
	}
	c.done.Go(func() {
		for {
			select {
			case packet := <-wire.Inbound:
				if isDatagram(packet) {
					n.count(index, func(t *tally) { t.came.Download += uint64(len(packet)) })
				}
			case <-c.stop:
				return
			}
		}
	})
	c.done.Go(func() {
		pace := time.NewTicker(time.Duration(500+r.IntN(2000)) * time.Microsecond)
		defer pace.Stop()
		for i := uint16(0); ; i++ {
			packet := datagram(p.peer.Addrs[0], 10_000+i%ports, index, r.IntN(2) == 0, labelSize+r.IntN(maxPayload-labelSize))
			n.count(index, func(t *tally) { t.sent.Upload += uint64(len(packet)) })
			select {
			case wire.Outbound <- packet:
			case <-c.stop:
				return
			}
			select {
			case <-pace.C:
			case <-c.stop:
				return
			}
		}
	})
	return c, nil
}

func (c *client) close() error {
	close(c.stop)
	c.done.Wait()
	return c.link.Close()
}
