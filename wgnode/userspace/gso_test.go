package userspace

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/shaping"
)

// TestSegments cuts arbitrary large segments and puts them together again: nothing is lost, doubled or out of place, each
// packet is sound by itself and no larger than it may be.
func TestSegments(t *testing.T) {
	l := newLink(testMTU, func(n int) *shaping.Packet { return &shaping.Packet{Data: make([]byte, n)} }, nil)
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		mss := rapid.IntRange(1, 1400).Draw(t, "mss")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 9*mss).Draw(t, "payload")
		flags := header.TCPFlags(rapid.Byte().Draw(t, "flags"))
		sequence := rapid.Uint32().Draw(t, "sequence")
		options := 4 * rapid.IntRange(0, 10).Draw(t, "option words")

		pkt := tcpPacket(v6, payload, flags, sequence, options)
		defer pkt.DecRef()
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, MSS: uint16(mss)}

		var whole []byte
		pkts := l.segments(nil, pkt)
		require.Len(t, pkts, max((len(payload)+mss-1)/mss, 1))
		for i, out := range pkts {
			var info packet.Info
			require.NoError(t, info.Parse(out.Data))
			require.Equal(t, pkts[0].Flow, out.Flow)
			network := header.IPv4MinimumSize
			var src, dst tcpip.Address
			if v6 {
				network = header.IPv6MinimumSize
				ip := header.IPv6(out.Data)
				src, dst = ip.SourceAddress(), ip.DestinationAddress()
			} else {
				ip := header.IPv4(out.Data)
				require.True(t, ip.IsChecksumValid())
				require.EqualValues(t, 100+i, ip.ID())
				src, dst = ip.SourceAddress(), ip.DestinationAddress()
			}
			tcp := header.TCP(out.Data[network:])
			body := tcp.Payload()
			sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, uint16(len(tcp)))
			require.True(t, tcp.IsChecksumValid(src, dst, checksumOf(body), uint16(len(body))), "checksum, pseudo %x", sum)
			require.Equal(t, sequence+uint32(i*mss), tcp.SequenceNumber())
			require.LessOrEqual(t, len(body), mss)
			want := flags
			if i < len(pkts)-1 {
				want &^= header.TCPFlagFin | header.TCPFlagPsh
			}
			if i > 0 {
				want &^= header.TCPFlagCwr
			}
			require.Equal(t, want, tcp.Flags())
			whole = append(whole, body...)
		}
		require.Equal(t, append([]byte{}, payload...), append([]byte{}, whole...))
	})
}

func tcpPacket(v6 bool, payload []byte, flags header.TCPFlags, sequence uint32, options int) *stack.PacketBuffer {
	src, dst := tcpip.AddrFrom4([4]byte{192, 0, 2, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})
	if v6 {
		src, dst = tcpip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: 1}), tcpip.AddrFrom16([16]byte{0xfd, 15: 2})
	}
	size := header.TCPMinimumSize + options
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: size + header.IPv6MinimumSize, Payload: buffer.MakeWithData(payload)})
	tcp := header.TCP(pkt.TransportHeader().Push(size))
	tcp.Encode(&header.TCPFields{SrcPort: 80, DstPort: 4000, SeqNum: sequence, DataOffset: uint8(size), Flags: flags, WindowSize: 1000})
	for i := header.TCPMinimumSize; i < size; i++ {
		tcp[i] = header.TCPOptionNOP
	}
	if v6 {
		header.IPv6(pkt.NetworkHeader().Push(header.IPv6MinimumSize)).Encode(&header.IPv6Fields{
			PayloadLength: uint16(size + len(payload)), TransportProtocol: header.TCPProtocolNumber, HopLimit: 64, SrcAddr: src, DstAddr: dst,
		})
		return pkt
	}
	header.IPv4(pkt.NetworkHeader().Push(header.IPv4MinimumSize)).Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + size + len(payload)), ID: 100, TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: src, DstAddr: dst,
	})
	return pkt
}
