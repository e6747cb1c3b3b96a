package packet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/packet"
)

func TestNothingIsAllocated(t *testing.T) {
	for _, raw := range seeds() {
		var p packet.Info
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if p.Parse(raw) == nil {
				_ = p.FlowHash()
			}
			_ = p.ParseQuoted(raw)
		}))
	}
}

func BenchmarkParse(b *testing.B) {
	for name, raw := range map[string][]byte{
		"ipv4 tcp":        ipv4(packet.TCP, 0, nil, tcp(16, make([]byte, 1400)...)),
		"ipv6 udp":        ipv6(packet.UDP, udp(make([]byte, 1200)...)),
		"ipv6 extensions": ipv6(0, extension(60, 0, 0, extension(packet.UDP, 0, 0, udp()))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var p packet.Info
			for b.Loop() {
				if err := p.Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFlowHash(b *testing.B) {
	p := mustParse(b, ipv4(packet.TCP, 0, nil, tcp(16)))
	b.ReportAllocs()
	for b.Loop() {
		_ = p.FlowHash()
	}
}
