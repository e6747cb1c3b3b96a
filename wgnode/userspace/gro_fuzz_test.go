package userspace

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/shaping"
)

// FuzzMerge sends a stream through the link in segments and batches of any size, and reads from the stack what was sent.
func FuzzMerge(f *testing.F) {
	f.Add(false, []byte{200, 200, 200, 100, 255, 0, 1, 127})
	f.Add(true, []byte{1, 129, 3, 3, 3, 3, 255, 255, 0, 128})
	f.Add(false, bytes.Repeat([]byte{100}, 130))
	peer := newSegmentPeer(f)
	f.Fuzz(func(t *testing.T, v6 bool, cuts []byte) {
		peer.stream(t, v6, cuts)
	})
}

// segmentPeer is a peer that makes its segments itself, and a stack behind a link with a server on a port.
type segmentPeer struct {
	link      *link
	listeners map[bool]*gonet.TCPListener // by whether it is for IPv6
	sequences chan uint32                 // of SYN-ACKs
	port      uint16
}

const segmentPort = 80

func newSegmentPeer(tb testing.TB) *segmentPeer {
	p := &segmentPeer{listeners: make(map[bool]*gonet.TCPListener), sequences: make(chan uint32, 1), port: 1024}
	p.link = newLink(testMTU, func(n int) *shaping.Packet { return &shaping.Packet{Data: make([]byte, n)} }, p.receive)
	s, err := newStack(p.link)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		s.Close()
		s.Destroy()
	})
	for v6, web := range map[bool]netip.Addr{false: web4, true: web6} {
		protocol := protocolIPv4
		if v6 {
			protocol = protocolIPv6
		}
		l, err := gonet.ListenTCP(s, tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(web.AsSlice()), Port: segmentPort}, protocol)
		require.NoError(tb, err)
		tb.Cleanup(func() { _ = l.Close() })
		p.listeners[v6] = l
	}
	return p
}

// receive hears what answers a SYN; acknowledgements are of no interest.
func (p *segmentPeer) receive(pkts []*shaping.Packet) {
	for _, pkt := range pkts {
		var info packet.Info
		if info.Parse(pkt.Data) == nil && header.TCPFlags(info.TCPFlags).Contains(header.TCPFlagSyn|header.TCPFlagAck) {
			p.sequences <- binary.BigEndian.Uint32(pkt.Data[info.Transport+4:])
		}
	}
}

// stream opens a connection and sends segments, as far as the window goes: the lower seven bits of a cut are the size of one, the
// highest ends a batch.
func (p *segmentPeer) stream(tb testing.TB, v6 bool, cuts []byte) {
	const scale, first, window = 10, 1<<32 - 3000, 60_000 // sequence numbers begin anew soon
	if p.port++; p.port == 0 {
		p.port = 1024
	}
	sequence, acknowledged := uint32(first), uint32(0)
	segment := func(flags header.TCPFlags, payload []byte) []byte {
		tcp := plainTransport(0, uint8(flags), sequence)
		binary.BigEndian.PutUint16(tcp, p.port)
		binary.BigEndian.PutUint16(tcp[2:], segmentPort)
		binary.BigEndian.PutUint32(tcp[8:], acknowledged)
		binary.BigEndian.PutUint16(tcp[14:], 0xffff)
		ip := plainNetwork(v6, 0, 0)
		if v6 {
			copy(ip[8:], ip[24:40])
			copy(ip[24:], web6.AsSlice())
		} else {
			copy(ip[12:], ip[16:20])
			copy(ip[16:], web4.AsSlice())
		}
		sequence += uint32(len(payload))
		return plainSegments(ip, tcp, payload, len(payload)+1)[0]
	}
	p.link.inject([][]byte{segment(header.TCPFlagSyn, nil)})
	acknowledged = <-p.sequences + 1
	sequence++
	p.link.inject([][]byte{segment(header.TCPFlagAck, nil)})
	conn, err := p.listeners[v6].Accept()
	require.NoError(tb, err)
	defer conn.Close()

	var sent []byte
	var batch [][]byte
	for i, cut := range cuts {
		payload := bytes.Repeat([]byte{byte(i)}, min(scale*int(cut&127), window-len(sent)))
		for j := range payload {
			payload[j] += byte(j)
		}
		sent = append(sent, payload...)
		batch = append(batch, segment(header.TCPFlagAck, payload))
		if cut&128 != 0 {
			p.link.inject(batch)
			batch = nil
		}
	}
	p.link.inject(append(batch, segment(header.TCPFlagFin|header.TCPFlagAck, nil)))
	require.NoError(tb, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	got, err := io.ReadAll(conn)
	require.NoError(tb, err)
	sequence++
	p.link.inject([][]byte{segment(header.TCPFlagRst|header.TCPFlagAck, nil)}) // nothing is to remain of it
	require.True(tb, bytes.Equal(sent, got), "%d bytes came of %d", len(got), len(sent))
}
