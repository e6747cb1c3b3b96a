package packet_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/waylume/waylume/internal/packet"
)

func seeds() [][]byte {
	return [][]byte{
		ipv4(packet.TCP, 0, nil, tcp(2)),
		ipv4(packet.UDP, 0, []byte{1, 7, 3, 0}, udp(1, 2, 3)),
		ipv4(packet.UDP, 0x2000, nil, append(udp(), make([]byte, 8)...)),
		ipv4(packet.UDP, 2, nil, []byte{1}),
		ipv4(packet.ICMP, 0, nil, icmp(3, 4, 0, ipv4(packet.TCP, 0, nil, tcp(2))[:28]...)),
		ipv6(packet.ICMPv6, icmp(2, 0, 0, ipv6(packet.UDP, udp(1))...)),
		ipv6(0, extension(60, 0, 0, extension(43, 1, 0, extension(packet.UDP, 0, 0, udp())))),
		ipv6(44, fragment6(packet.TCP, 0, true, append(tcp(2), make([]byte, 4)...))),
		ipv6(44, fragment6(packet.TCP, 1280, false, []byte{1})),
	}
}

// FuzzParse holds what everything behind Parse relies on. That nothing is read past the packet's end shows in that the
// bytes behind it in the same array change nothing.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		var p, again packet.Info
		err := p.Parse(b)
		if !slices.Equal(b, before) {
			t.Fatal("the packet was changed")
		}
		if err != nil {
			checkError(t, err)
			return
		}
		checkInfo(t, &p, b)
		if p.Length != len(b) {
			t.Fatalf("length %d of %d bytes", p.Length, len(b))
		}
		longer := append(slices.Clone(b), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
		if err := again.Parse(longer[:len(b)]); err != nil || again != p {
			t.Fatalf("bytes past the end matter: %+v, %+v, %v", p, again, err)
		}
		if err := again.Parse(longer); err == nil {
			t.Fatal("trailing bytes pass")
		}
		if err := again.Parse(b[:len(b)-1]); err == nil {
			t.Fatal("a packet passes without its last byte")
		}
		_ = p.FlowHash()
		_, carries := packet.TCPData(b)
		if carries && (p.Proto != packet.TCP || p.Fragment || p.TCPFlags&2 != 0) {
			t.Fatalf("data of a TCP segment in %+v", p)
		}
	})
}

// FuzzTCPData reads packets that nobody has parsed.
func FuzzTCPData(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		longer := append(slices.Clone(b), 0xff, 0xff, 0xff, 0xff)
		sequence, ok := packet.TCPData(b)
		if again, still := packet.TCPData(longer[:len(b)]); again != sequence || still != ok {
			t.Fatal("bytes past the end matter")
		}
	})
}

func FuzzParseQuoted(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
		f.Add(seed[:min(len(seed), 28)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var q, p packet.Info
		if err := q.ParseQuoted(b); err != nil {
			checkError(t, err)
			if p.Parse(b) == nil {
				t.Fatalf("a whole packet is refused as a quote: %v", err)
			}
			return
		}
		checkInfo(t, &q, b)
		if p.Parse(b) == nil {
			p.TCPFlags = 0
			if p != q {
				t.Fatalf("quote and packet differ: %+v, %+v", q, p)
			}
		}
	})
}

func checkError(t *testing.T, err error) {
	for _, known := range []error{packet.ErrTruncated, packet.ErrVersion, packet.ErrLength, packet.ErrHeader} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Fatalf("unknown error %v", err)
}

func checkInfo(t *testing.T, p *packet.Info, b []byte) {
	switch {
	case p.Version != b[0]>>4:
		t.Fatalf("version %d", p.Version)
	case p.Version == 4 && (!p.Src.Is4() || !p.Dst.Is4() || p.Transport < packet.IPv4HeaderLen):
		t.Fatalf("not of IPv4: %+v", p)
	case p.Version == 6 && (!p.Src.Is6() || !p.Dst.Is6() || p.Transport < packet.IPv6HeaderLen):
		t.Fatalf("not of IPv6: %+v", p)
	case p.Transport > len(b):
		t.Fatalf("transport at %d of %d bytes", p.Transport, len(b))
	case p.Fragment && (p.SrcPort|p.DstPort|p.ICMPID != 0 || p.TCPFlags|p.ICMPType|p.ICMPCode != 0):
		t.Fatalf("a later fragment has a transport header: %+v", p)
	case p.Proto != packet.TCP && p.TCPFlags != 0,
		p.Proto != packet.TCP && p.Proto != packet.UDP && p.SrcPort|p.DstPort != 0,
		p.Proto != packet.ICMP && p.Proto != packet.ICMPv6 && (p.ICMPType|p.ICMPCode != 0 || p.ICMPID != 0):
		t.Fatalf("fields of another protocol: %+v", p)
	case p.IsEchoRequest() && (p.IsEchoReply() || p.IsICMPError()):
		t.Fatalf("two kinds at once: %+v", p)
	}
	if (p.Proto == packet.TCP || p.Proto == packet.UDP) && !p.Fragment &&
		(uint16(b[p.Transport])<<8|uint16(b[p.Transport+1]) != p.SrcPort ||
			uint16(b[p.Transport+2])<<8|uint16(b[p.Transport+3]) != p.DstPort) {
		t.Fatalf("ports are not those at the transport header: %+v", p)
	}
}
