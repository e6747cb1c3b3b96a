package packet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/packet"
)

func TestParseQuotedReads(t *testing.T) {
	tests := map[string]struct {
		quote []byte
		want  func(*packet.Info)
	}{
		"tcp, 8 bytes": {
			ipv4(packet.TCP, 0x4000, nil, tcp(2, make([]byte, 100)...))[:28],
			func(p *packet.Info) { p.Proto, p.Length, p.SrcPort, p.DstPort = packet.TCP, 140, 40000, 443 },
		},
		"udp and extensions behind it (RFC 4884)": {
			append(ipv4(packet.UDP, 0, nil, udp(1)), make([]byte, 128)...),
			func(p *packet.Info) { p.Proto, p.Length, p.SrcPort, p.DstPort = packet.UDP, 29, 40000, 53 },
		},
		"echo": {
			ipv4(packet.ICMP, 0, nil, icmp(8, 0, 77, make([]byte, 56)...))[:28],
			func(p *packet.Info) { p.Proto, p.Length, p.ICMPType, p.ICMPID = packet.ICMP, 84, 8, 77 },
		},
		"other": {ipv4(47, 0, nil, make([]byte, 9))[:20], func(p *packet.Info) { p.Proto, p.Length = 47, 29 }},
		"later fragment": {
			ipv4(packet.UDP, 2, nil, make([]byte, 9))[:20],
			func(p *packet.Info) { p.Proto, p.Length, p.Fragment = packet.UDP, 29, true },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := packet.Info{Version: 4, Src: alice4, Dst: bob4, Transport: 20, FragmentID: 0xbeef}
			test.want(&want)
			var got packet.Info
			require.NoError(t, got.ParseQuoted(test.quote))
			require.Equal(t, want, got)
		})
	}

	var got packet.Info
	require.NoError(t, got.ParseQuoted(ipv6(60, extension(packet.TCP, 0, 0, tcp(2, make([]byte, 1200)...)))[:56]))
	require.Equal(t, packet.Info{
		Version: 6, Src: alice6, Dst: bob6, Proto: packet.TCP, Length: 1268, Transport: 48, SrcPort: 40000, DstPort: 443,
	}, got)
}

func TestParseQuotedRefuses(t *testing.T) {
	tests := map[string]struct {
		quote []byte
		want  error
	}{
		"empty":              {nil, packet.ErrTruncated},
		"version":            {make([]byte, 60), packet.ErrVersion},
		"short header":       {ipv4(packet.UDP, 0, nil, nil)[:19], packet.ErrTruncated},
		"header of 16":       {with(ipv4(packet.UDP, 0, nil, udp()), 0, 0x44), packet.ErrHeader},
		"header past end":    {with(ipv4(47, 0, nil, nil), 0, 0x46), packet.ErrTruncated},
		"length of 0":        {with(ipv4(packet.UDP, 0, nil, udp()), 3, 0), packet.ErrLength},
		"7 bytes of tcp":     {ipv4(packet.TCP, 0, nil, tcp(2))[:27], packet.ErrTruncated},
		"7 bytes of icmp":    {ipv4(packet.ICMP, 0, nil, icmp(8, 0, 1))[:27], packet.ErrTruncated},
		"short header6":      {ipv6(packet.UDP, nil)[:39], packet.ErrTruncated},
		"7 bytes of udp6":    {ipv6(packet.UDP, udp())[:47], packet.ErrTruncated},
		"extension past end": {ipv6(60, extension(packet.UDP, 9, 0, nil)[:16]), packet.ErrTruncated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p packet.Info
			require.ErrorIs(t, p.ParseQuoted(test.quote), test.want)
		})
	}
}
