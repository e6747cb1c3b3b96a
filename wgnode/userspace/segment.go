package userspace

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/wgnode/internal/wggo"
)

// TCP options that the stack leaves room for in each segment, in bytes: timestamps (RFC 7323), and as many blocks of a selective
// acknowledgement (RFC 2018) as there is room for, with and without them.
const (
	roomForTimestamps = 12
	roomForSACK       = 36
	roomForBoth       = header.TCPOptionsMaximumSize
)

// segmentSize is how much payload the stack puts in each segment to a peer that has opened a connection with these options.
func segmentSize(syn header.TCPSynOptions, mtu int, v6 bool) int {
	options := 0
	switch {
	case syn.TS && syn.SACKPermitted:
		options = roomForBoth
	case syn.SACKPermitted:
		options = roomForSACK
	case syn.TS:
		options = roomForTimestamps
	}
	return max(min(int(syn.MSS), mtu-networkHeader(v6)-header.TCPMinimumSize)-options, 1)
}

// burstSize is how many bytes towards a peer are best given to the stack at once: so many full segments as one large segment of the
// stack's holds, and as WireGuard's port sends at once when they are encrypted. A short segment at the end of each, of which the
// stack would make a packet of its own, breaks up what is sent and received as one.
func burstSize(segment, mtu int, v6 bool) int {
	const headers = header.TCPMinimumSize + roomForTimestamps
	packet := min(segment+networkHeader(v6)+headers, mtu)
	message := (packet+wggo.Padding-1)/wggo.Padding*wggo.Padding + wggo.Overhead
	largest := gsoMaxSize - header.TCPTotalHeaderMaximumSize - 1 // as the stack reckons
	return max(min(wggo.MaxBurst/message, largest/segment), 1) * segment
}

func networkHeader(v6 bool) int {
	if v6 {
		return header.IPv6MinimumSize
	}
	return header.IPv4MinimumSize
}
