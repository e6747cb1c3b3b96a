package userspace

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/internal/wggo"
)

// The stack cuts bursts into so many segments as is reckoned with, all full.
func TestBurstSize(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	var mu sync.Mutex
	payloads := make(map[int]int) // by version
	toPeers := r.dp.link.toPeers
	r.dp.link.toPeers = func(pkts []*shaping.Packet) {
		for _, pkt := range pkts {
			var info packet.Info
			if info.Parse(pkt.Data) == nil && info.Proto == packet.TCP {
				payload := len(header.TCP(pkt.Data[info.Transport:]).Payload())
				mu.Lock()
				payloads[int(info.Version)] = max(payloads[int(info.Version)], payload)
				mu.Unlock()
			}
		}
		toPeers(pkts)
	}
	const size = 1 << 20
	port := listen(t, func(c *net.TCPConn) { _, _ = c.Write(make([]byte, size)) })
	for _, web := range []netip.Addr{web4, web6} {
		c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web, port))
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, c)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		require.NoError(t, c.Close())
	}
	mu.Lock()
	defer mu.Unlock()
	for version, v6 := range map[int]bool{4: false, 6: true} {
		syn := header.TCPSynOptions{MSS: uint16(testMTU - networkHeader(v6) - header.TCPMinimumSize), TS: true, SACKPermitted: true}
		segment := segmentSize(syn, testMTU, v6)
		require.Equal(t, segment, payloads[version], "IPv%d", version)
		require.Equal(t, 45*segment, burstSize(segment, testMTU, v6), "IPv%d", version)
	}
}

// A burst is of whole segments, one at least, and no more than the stack and WireGuard take at once.
func TestBurstSizeBounds(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, mtu := range []int{wgnode.MinMTU, testMTU, wgnode.MaxMTU} {
			for _, mss := range []int{0, 1, 40, 41, header.TCPMinimumMSS, header.TCPDefaultMSS, 1380, 8960, 65535} {
				for _, with := range [][2]bool{{}, {true}, {false, true}, {true, true}} {
					syn := header.TCPSynOptions{MSS: uint16(mss), TS: with[0], SACKPermitted: with[1]}
					segment := segmentSize(syn, mtu, v6)
					require.Positive(t, segment)
					require.LessOrEqual(t, segment, mtu)
					burst := burstSize(segment, mtu, v6)
					require.Zero(t, burst%segment)
					require.Positive(t, burst)
					require.LessOrEqual(t, burst, min(largeBuffer, wggo.MaxBurst))
				}
			}
		}
	}
}
