package bench

import (
	"net"
	"testing"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// arrivals counts what TCP has brought, in bytes of payload.
//
// The receiving program cannot: it is given bytes in order, and what came after a segment that was lost only when that is there, all
// at once. Of a queue of ten packets that is 3 % of four seconds at 1 Mbit/s, more or less. Both that can are at the client's end of
// the tunnel, as the userspace exit ends connections and begins others.
type arrivals interface {
	payload() uint64
}

// tcpSenders are a client's connections that send. Receivers acknowledge what they have in any order (SACK, RFC 2018), a segment or
// two at a time.
type tcpSenders []tcpSender

type tcpSender struct {
	conn    *net.TCPConn
	segment int
}

func (all tcpSenders) payload() (n uint64) {
	for _, s := range all {
		n += s.delivered() * uint64(s.segment)
	}
	return n
}

// delivered is how many segments have been acknowledged, each once (Linux 4.18); 0 once the connection is closed.
func (s tcpSender) delivered() (n uint64) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = uint64(info.Delivered)
		}
	})
	return n
}

// tunnelArrivals are packets that come out of a client's tunnel, those of one segment and those that were merged.
type tunnelArrivals struct {
	link  *rtnetlink.Conn
	index uint32
}

// watchLink follows a client's tunnel until the benchmark ends.
func watchLink(tb testing.TB, c *client) *tunnelArrivals {
	tb.Helper()
	a := new(tunnelArrivals)
	c.Do(tb, func() error {
		link, err := net.InterfaceByName(tunnelLink)
		if err != nil {
			return err
		}
		a.index = uint32(link.Index)
		a.link, err = rtnetlink.Dial(nil) // it stays in this namespace
		return err
	})
	tb.Cleanup(func() { require.NoError(tb, a.link.Close()) })
	require.NotZero(tb, a.payload(), "the tunnel's link does not count what comes")
	return a
}

// payload is what came beside headers, each of which is one of a TCP segment's.
func (a *tunnelArrivals) payload() uint64 {
	link, err := a.link.Link.Get(a.index)
	if err != nil || link.Attributes == nil || link.Attributes.Stats64 == nil {
		return 0
	}
	stats := link.Attributes.Stats64
	return stats.RXBytes - min(stats.RXBytes, stats.RXPackets*(ipv4Header+tcpHeader))
}
