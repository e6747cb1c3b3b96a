package demo

import (
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/internal/packet"
)

// Flags of a TCP header (RFC 9293).
const (
	flagSYN = 0x02
	flagACK = 0x10
)

// volume is what moved in one direction.
type volume struct {
	packets uint64
	bytes   uint64 // whole IP packets
	payload uint64 // what TCP and UDP carry in them
}

func (v volume) since(earlier volume) volume {
	return volume{v.packets - earlier.packets, v.bytes - earlier.bytes, v.payload - earlier.payload}
}

// tap is a client's TUN device with a witness in it, who counts the packets that the client sends and receives: inner IP
// packets, as the node's limits and caps count them, seen from the other end of the tunnel.
type tap struct {
	tun.Device

	mu     sync.Mutex
	sent   volume
	got    volume
	opened map[destination]int // packets of the client that begin a flow: TCP SYN, and each UDP datagram
}

// destination is where a flow goes and from which of the client's addresses.
type destination struct {
	proto uint8
	from  netip.Addr
	to    netip.AddrPort
}

func newTap(inner tun.Device) *tap {
	return &tap{Device: inner, opened: make(map[destination]int)}
}

// Read takes packets that the client sends.
func (t *tap) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := t.Device.Read(bufs, sizes, offset)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range n {
		var info packet.Info
		b := bufs[i][offset : offset+sizes[i]]
		if info.Parse(b) != nil {
			continue
		}
		t.sent.add(&info, b)
		if info.Proto == packet.UDP || info.Proto == packet.TCP && info.TCPFlags&(flagSYN|flagACK) == flagSYN {
			t.opened[destination{info.Proto, info.Src, netip.AddrPortFrom(info.Dst, info.DstPort)}]++
		}
	}
	return n, err
}

// Write hands packets to the client.
func (t *tap) Write(bufs [][]byte, offset int) (int, error) {
	t.mu.Lock()
	for _, buf := range bufs {
		var info packet.Info
		if b := buf[offset:]; info.Parse(b) == nil {
			t.got.add(&info, b)
		}
	}
	t.mu.Unlock()
	return t.Device.Write(bufs, offset)
}

func (v *volume) add(info *packet.Info, b []byte) {
	v.packets++
	v.bytes += uint64(info.Length)
	header := info.Transport
	switch {
	case info.Proto == packet.UDP:
		header += packet.UDPHeaderLen
	case info.Proto == packet.TCP && info.Transport+packet.TCPHeaderLen <= len(b):
		header += int(b[info.Transport+12]>>4) * 4 // the data offset, in words (RFC 9293)
	}
	v.payload += uint64(max(0, info.Length-header))
}

// received is what the client got so far.
func (t *tap) received() volume {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.got
}

// transmitted is what the client sent so far, whatever became of it.
func (t *tap) transmitted() volume {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}

// attempts is how many packets left the client to begin a flow.
func (t *tap) attempts(d destination) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opened[d]
}
