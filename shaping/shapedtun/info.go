package shapedtun

import (
	"net/netip"

	"github.com/waylume/waylume/internal/packet"
)

// Direction is the way that a packet goes.
type Direction int

const (
	// Download is towards the peer: the packet was read from the device.
	Download Direction = iota
	// Upload is from the peer: the packet is being written to the device.
	Upload
)

// String returns "download" or "upload".
func (d Direction) String() string {
	if d == Download {
		return "download"
	}
	return "upload"
}

// Info is what a classifier is told of a packet.
type Info struct {
	Direction Direction
	// Src and Dst are the addresses of the IP header.
	Src, Dst netip.Addr
	// Proto is the upper-layer protocol number (IANA), after any IPv6 extension headers.
	Proto uint8
	// SrcPort and DstPort are those of TCP or UDP, 0 for other protocols and for fragments other than the first.
	SrcPort, DstPort uint16
	// Length is that of the whole IP packet, in bytes.
	Length int
}

// Remote is the address at the far end of the tunnel: the destination of a download, the source of an upload.
func (i Info) Remote() netip.Addr {
	if i.Direction == Download {
		return i.Dst
	}
	return i.Src
}

// parse reads a packet, and reports its flow and whether it is an IP packet at all.
func parse(d Direction, b []byte) (info Info, flow uint32, ok bool) {
	var p packet.Info
	if p.Parse(b) != nil {
		return Info{}, 0, false
	}
	info = Info{Direction: d, Src: p.Src, Dst: p.Dst, Proto: p.Proto, SrcPort: p.SrcPort, DstPort: p.DstPort, Length: p.Length}
	return info, p.FlowHash(), true
}
