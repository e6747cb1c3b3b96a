package userspace

import (
	"bytes"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// BenchmarkMerge joins the segments of a batch, of one connection and of eight side by side.
func BenchmarkMerge(b *testing.B) {
	for name, steps := range map[string][]byte{
		"flows=1": bytes.Repeat([]byte{0, 170}, 128),
		"flows=8": bytes.Repeat([]byte{0, 170, 1, 170, 2, 170, 3, 170, 4, 170, 5, 170, 6, 170, 7, 170}, 16),
	} {
		b.Run(name, func(b *testing.B) {
			batch := mixedPackets(steps)
			var m merger
			b.SetBytes(int64(len(batch) * 1360))
			b.ReportAllocs()
			for b.Loop() {
				for _, raw := range batch {
					m.add(raw)
				}
				m.deliver(discard{})
			}
		})
	}
}

// discard is a stack that takes nothing.
type discard struct{ *delivered }

func (discard) DeliverNetworkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}
