package packet_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/packet"
)

func TestParseReads(t *testing.T) {
	v4 := packet.Info{Version: 4, Src: alice4, Dst: bob4, Transport: 20, FragmentID: 0xbeef}
	v6 := packet.Info{Version: 6, Src: alice6, Dst: bob6, Transport: 40}
	info := func(base packet.Info, proto uint8, length int, more func(*packet.Info)) packet.Info {
		base.Proto, base.Length = proto, length
		if more != nil {
			more(&base)
		}
		return base
	}
	ports := func(dst uint16, flags uint8) func(*packet.Info) {
		return func(p *packet.Info) { p.SrcPort, p.DstPort, p.TCPFlags = 40000, dst, flags }
	}
	tests := map[string]struct {
		raw  []byte
		want packet.Info
	}{
		"tcp":           {ipv4(packet.TCP, 0, nil, tcp(0x12)), info(v4, packet.TCP, 40, ports(443, 0x12))},
		"udp":           {ipv4(packet.UDP, 0x4000, nil, udp(1, 2, 3)), info(v4, packet.UDP, 31, ports(53, 0))},
		"udp6":          {ipv6(packet.UDP, udp(1)), info(v6, packet.UDP, 49, ports(53, 0))},
		"tcp6":          {ipv6(packet.TCP, tcp(2)), info(v6, packet.TCP, 60, ports(443, 2))},
		"other":         {ipv4(47, 0, nil, []byte{1}), info(v4, 47, 21, nil)},
		"nothing":       {ipv6(59, nil), info(v6, 59, 40, nil)},
		"udp, more ip":  {ipv4(packet.UDP, 0, nil, append(udp(), 9, 9)), info(v4, packet.UDP, 30, ports(53, 0))},
		"unreachable":   {ipv4(packet.ICMP, 0, nil, icmp(3, 4, 1280)), info(v4, packet.ICMP, 28, func(p *packet.Info) { p.ICMPType, p.ICMPCode = 3, 4 })},
		"echo":          {ipv4(packet.ICMP, 0, nil, icmp(8, 0, 77)), info(v4, packet.ICMP, 28, func(p *packet.Info) { p.ICMPType, p.ICMPID = 8, 77 })},
		"echo6":         {ipv6(packet.ICMPv6, icmp(129, 0, 77)), info(v6, packet.ICMPv6, 48, func(p *packet.Info) { p.ICMPType, p.ICMPID = 129, 77 })},
		"icmpv6 in 4":   {ipv4(packet.ICMPv6, 0, nil, icmp(128, 0, 77)), info(v4, packet.ICMPv6, 28, func(p *packet.Info) { p.ICMPType = 128 })},
		"options":       {ipv4(packet.TCP, 0, []byte{1, 7, 3, 0}, tcp(2)), info(v4, packet.TCP, 44, func(p *packet.Info) { ports(443, 2)(p); p.Transport = 24 })},
		"end of option": {ipv4(packet.UDP, 0, []byte{0, 131, 137, 9}, udp()), info(v4, packet.UDP, 32, func(p *packet.Info) { ports(53, 0)(p); p.Transport = 24 })},
		"extensions": {
			ipv6(0, extension(60, 0, 0, extension(43, 1, 0, extension(packet.UDP, 0, 0, udp())))),
			info(v6, packet.UDP, 80, func(p *packet.Info) { ports(53, 0)(p); p.Transport = 72 }),
		},
		"first fragment": {
			ipv4(packet.UDP, 0x2000, nil, append(udp(), make([]byte, 8)...)),
			info(v4, packet.UDP, 36, func(p *packet.Info) { ports(53, 0)(p); p.MoreFragments = true }),
		},
		"middle fragment": {
			ipv4(packet.UDP, 0x2001, nil, make([]byte, 8)),
			info(v4, packet.UDP, 28, func(p *packet.Info) { p.Fragment, p.MoreFragments = true, true }),
		},
		"last fragment": {
			ipv4(packet.TCP, 2, nil, []byte{1}),
			info(v4, packet.TCP, 21, func(p *packet.Info) { p.Fragment = true }),
		},
		"first fragment6": {
			ipv6(44, fragment6(packet.TCP, 0, true, append(tcp(2), make([]byte, 4)...))),
			info(v6, packet.TCP, 72, func(p *packet.Info) {
				ports(443, 2)(p)
				p.MoreFragments, p.Transport, p.FragmentID = true, 48, 0xdeadbeef
			}),
		},
		"last fragment6": {
			ipv6(60, extension(44, 0, 0, fragment6(packet.TCP, 1280, false, []byte{1}))),
			info(v6, packet.TCP, 57, func(p *packet.Info) { p.Fragment, p.Transport, p.FragmentID = true, 56, 0xdeadbeef }),
		},
		"atomic fragment6": {
			ipv6(44, fragment6(60, 0, false, extension(packet.UDP, 0, 0, udp()))),
			info(v6, packet.UDP, 64, func(p *packet.Info) { ports(53, 0)(p); p.Transport, p.FragmentID = 56, 0xdeadbeef }),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, mustParse(t, test.raw))
		})
	}
}

func TestParseRefuses(t *testing.T) {
	many := udp()
	for range 8 {
		many = extension(60, 0, 0, many)
	}
	many[len(many)-packet.UDPHeaderLen-8] = packet.UDP
	tests := map[string]struct {
		raw  []byte
		want error
	}{
		"empty":                     {nil, packet.ErrTruncated},
		"version 0":                 {make([]byte, 40), packet.ErrVersion},
		"version 5":                 {with(ipv4(packet.UDP, 0, nil, udp()), 0, 0x55), packet.ErrVersion},
		"short header":              {ipv4(packet.UDP, 0, nil, nil)[:19], packet.ErrTruncated},
		"header of 16":              {with(ipv4(packet.UDP, 0, nil, udp()), 0, 0x44), packet.ErrHeader},
		"header past end":           {with(ipv4(47, 0, nil, nil), 0, 0x46), packet.ErrTruncated},
		"length past end":           {ipv4(packet.UDP, 0, nil, udp(1, 2))[:29], packet.ErrTruncated},
		"trailing bytes":            {append(ipv4(packet.UDP, 0, nil, udp()), 0), packet.ErrLength},
		"length 0":                  {with(ipv4(packet.UDP, 0, nil, udp()), 3, 0), packet.ErrLength},
		"loose source route":        {ipv4(packet.UDP, 0, []byte{131, 3, 4, 0}, udp()), packet.ErrHeader},
		"strict source route":       {ipv4(packet.UDP, 0, []byte{1, 137, 3, 4}, udp()), packet.ErrHeader},
		"option of length 0":        {ipv4(packet.UDP, 0, []byte{7, 0, 0, 0}, udp()), packet.ErrHeader},
		"option of length 1":        {ipv4(packet.UDP, 0, []byte{7, 1, 0, 0}, udp()), packet.ErrHeader},
		"option past header":        {ipv4(packet.UDP, 0, []byte{7, 5, 0, 0}, udp()), packet.ErrHeader},
		"option without length":     {ipv4(packet.UDP, 0, []byte{1, 1, 1, 7}, udp()), packet.ErrHeader},
		"short tcp":                 {ipv4(packet.TCP, 0, nil, tcp(2)[:19]), packet.ErrTruncated},
		"short first tcp fragment":  {ipv4(packet.TCP, 0x2000, nil, tcp(2)[:16]), packet.ErrTruncated},
		"tcp header of 16":          {ipv4(packet.TCP, 0, nil, with(tcp(2), 12, 0x40)), packet.ErrHeader},
		"tcp header past end":       {ipv4(packet.TCP, 0, nil, with(tcp(2), 12, 0x60)), packet.ErrHeader},
		"short udp":                 {ipv4(packet.UDP, 0, nil, udp()[:7]), packet.ErrTruncated},
		"udp length 7":              {ipv4(packet.UDP, 0, nil, with(udp(), 5, 7)), packet.ErrHeader},
		"udp length past end":       {ipv4(packet.UDP, 0, nil, with(udp(), 5, 9)), packet.ErrHeader},
		"short icmp":                {ipv4(packet.ICMP, 0, nil, icmp(8, 0, 1)[:7]), packet.ErrTruncated},
		"tcp fragment at 8":         {ipv4(packet.TCP, 1, nil, make([]byte, 8)), packet.ErrHeader},
		"fragment past 65535":       {ipv4(packet.UDP, 0x1fff, nil, make([]byte, 8)), packet.ErrHeader},
		"odd fragment before more":  {ipv4(packet.UDP, 0x2002, nil, make([]byte, 7)), packet.ErrHeader},
		"short header6":             {ipv6(packet.UDP, nil)[:39], packet.ErrTruncated},
		"length past end6":          {ipv6(packet.UDP, udp(1))[:48], packet.ErrTruncated},
		"trailing bytes6":           {append(ipv6(packet.UDP, udp()), 0), packet.ErrLength},
		"extension cut":             {ipv6(0, make([]byte, 7)), packet.ErrTruncated},
		"extension past end":        {ipv6(0, extension(packet.UDP, 9, 0, nil)[:16]), packet.ErrTruncated},
		"route with segments left":  {ipv6(43, extension(packet.UDP, 0, 1, udp())), packet.ErrHeader},
		"too many extensions":       {ipv6(60, many), packet.ErrHeader},
		"fragment header cut":       {ipv6(44, make([]byte, 4)), packet.ErrTruncated},
		"fragment6 at 8":            {ipv6(44, fragment6(packet.UDP, 8, false, udp())), packet.ErrHeader},
		"fragment6 past 65535":      {ipv6(44, fragment6(packet.UDP, 65528, false, make([]byte, 8))), packet.ErrHeader},
		"odd fragment6 before more": {ipv6(44, fragment6(packet.UDP, 16, true, make([]byte, 9))), packet.ErrHeader},
		"options behind a first fragment header": {
			ipv6(44, fragment6(60, 0, true, extension(packet.UDP, 0, 0, udp()))), packet.ErrHeader,
		},
		"options behind a later fragment header": {ipv6(44, fragment6(60, 16, false, make([]byte, 8))), packet.ErrHeader},
		"short transport behind extensions":      {ipv6(60, extension(packet.TCP, 0, 0, tcp(2)[:12])), packet.ErrTruncated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p packet.Info
			require.ErrorIs(t, p.Parse(test.raw), test.want)
		})
	}
}

func TestParseForgetsTheLastPacket(t *testing.T) {
	p := mustParse(t, ipv6(44, fragment6(packet.TCP, 0, true, append(tcp(2), make([]byte, 4)...))))
	require.NoError(t, p.Parse(ipv4(47, 0, nil, nil)))
	require.Equal(t, packet.Info{Version: 4, Src: alice4, Dst: bob4, Proto: 47, Length: 20, Transport: 20, FragmentID: 0xbeef}, p)
}

func TestICMPKinds(t *testing.T) {
	type kinds struct{ request, reply, failure bool }
	tests := map[string]struct {
		raw  []byte
		want kinds
	}{
		"request":             {ipv4(packet.ICMP, 0, nil, icmp(8, 0, 1)), kinds{request: true}},
		"reply":               {ipv4(packet.ICMP, 0, nil, icmp(0, 0, 1)), kinds{reply: true}},
		"unreachable":         {ipv4(packet.ICMP, 0, nil, icmp(3, 4, 0)), kinds{failure: true}},
		"quench":              {ipv4(packet.ICMP, 0, nil, icmp(4, 0, 0)), kinds{}},
		"redirect":            {ipv4(packet.ICMP, 0, nil, icmp(5, 0, 0)), kinds{}},
		"time exceeded":       {ipv4(packet.ICMP, 0, nil, icmp(11, 0, 0)), kinds{failure: true}},
		"parameter":           {ipv4(packet.ICMP, 0, nil, icmp(12, 0, 0)), kinds{failure: true}},
		"request6":            {ipv6(packet.ICMPv6, icmp(128, 0, 1)), kinds{request: true}},
		"reply6":              {ipv6(packet.ICMPv6, icmp(129, 0, 1)), kinds{reply: true}},
		"unreachable6":        {ipv6(packet.ICMPv6, icmp(1, 0, 0)), kinds{failure: true}},
		"too big6":            {ipv6(packet.ICMPv6, icmp(2, 0, 0)), kinds{failure: true}},
		"parameter6":          {ipv6(packet.ICMPv6, icmp(4, 0, 0)), kinds{failure: true}},
		"reserved6":           {ipv6(packet.ICMPv6, icmp(0, 0, 0)), kinds{}},
		"neighbour6":          {ipv6(packet.ICMPv6, icmp(135, 0, 0)), kinds{}},
		"4's protocol in 6":   {ipv6(packet.ICMP, icmp(8, 0, 0)), kinds{}},
		"6's protocol in 4":   {ipv4(packet.ICMPv6, 0, nil, icmp(1, 0, 0)), kinds{}},
		"later fragment":      {ipv4(packet.ICMP, 2, nil, icmp(8, 0, 0)), kinds{}},
		"udp of type request": {ipv4(packet.UDP, 0, nil, with(udp(), 0, 8)), kinds{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, test.raw)
			require.Equal(t, test.want, kinds{p.IsEchoRequest(), p.IsEchoReply(), p.IsICMPError()})
		})
	}
}

func TestFlowHash(t *testing.T) {
	hash := func(raw []byte) uint32 {
		p := mustParse(t, raw)
		return p.FlowHash()
	}
	first := ipv4(packet.UDP, 0x2000, nil, append(udp(), make([]byte, 8)...))
	last := ipv4(packet.UDP, 2, nil, make([]byte, 3))
	require.Equal(t, hash(ipv4(packet.TCP, 0, nil, tcp(2))), hash(ipv4(packet.TCP, 0, nil, tcp(16, 1, 2, 3))), "one flow")
	require.Equal(t, hash(first), hash(last), "fragments of one packet")
	require.NotEqual(t, hash(ipv4(packet.TCP, 0, nil, tcp(2))), hash(ipv4(packet.UDP, 0, nil, udp())), "protocols")

	seen := map[uint32]bool{}
	for port := range 4096 {
		seen[hash(ipv4(packet.UDP, 0, nil, with(with(udp(), 0, uint8(port>>8)), 1, uint8(port))))] = true
	}
	require.Greater(t, len(seen), 4090, "ports spread")
}

func TestTCPData(t *testing.T) {
	const sequence = 0xfedcba98
	segment := func(flags uint8, payload ...byte) []byte {
		b := tcp(flags, payload...)
		binary.BigEndian.PutUint32(b[4:], sequence)
		return b
	}
	options := append(with(segment(16), 12, 6<<4), 1, 1, 1, 1)
	for name, c := range map[string]struct {
		packet []byte
		ok     bool
	}{
		"IPv4":                   {ipv4(packet.TCP, 0, nil, segment(16, 1)), true},
		"IPv4 with options":      {ipv4(packet.TCP, 0, []byte{1, 1, 1, 0}, segment(24, 1)), true},
		"IPv6":                   {ipv6(packet.TCP, segment(16, 1)), true},
		"a first fragment":       {ipv4(packet.TCP, 0x2000, nil, segment(16, 1, 2, 3, 4)), true},
		"options and data":       {ipv4(packet.TCP, 0, nil, append(options, 1)), true},
		"options alone":          {ipv4(packet.TCP, 0, nil, options), false},
		"an acknowledgement":     {ipv4(packet.TCP, 0, nil, segment(16)), false},
		"a SYN with data":        {ipv4(packet.TCP, 0, nil, segment(2, 1)), false},
		"a later fragment":       {ipv4(packet.TCP, 200, nil, segment(16, 1)), false},
		"UDP":                    {ipv4(packet.UDP, 0, nil, segment(16, 1)), false},
		"IPv6, behind extension": {ipv6(60, extension(packet.TCP, 0, 0, segment(16, 1))), false},
		"half a header":          {ipv4(packet.TCP, 0, nil, segment(16)[:19]), false},
		"half a header of IPv6":  {ipv6(packet.TCP, nil)[:30], false},
		"nothing":                {nil, false},
	} {
		got, ok := packet.TCPData(c.packet)
		require.Equal(t, c.ok, ok, name)
		if ok {
			require.EqualValues(t, sequence, got, name)
		}
	}
}
