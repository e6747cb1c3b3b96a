package conformance

import (
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/quota"
)

// Traits are properties of the ground that a dataplane stands on, such as a kernel, which its author cannot change and which
// keep it from what the suite asserts of one that makes each packet itself. Each loosens only the assertions that it names,
// and only as far as it says; a false one leaves them as strict as they are for everybody.
type Traits struct {
	// MeteredBeforeQueue: downloads are counted before they wait in the queue of their speed limit, so that what a full
	// queue drops was counted. Where one may be full, with a flow that does not yield to its limit or with TCP, no more is
	// delivered than counted, in place of just as much, and a rate is measured by what was delivered. Where no queue can be
	// full, as with datagrams of a few at a time, all stays exact; and not a byte past a cap is delivered, nor counted.
	MeteredBeforeQueue bool
	// SuperPackets: segments of TCP that come together are carried as one packet of up to 64 KiB (GRO), which is counted as
	// it is, with one header in place of one for each segment, and which a cap lets pass or cuts off whole. TCP may be
	// counted for that much less than was delivered, and its cap may cut that much earlier. Datagrams stay exact, but for
	// those of one flow from a peer that the machine was so late for that they came together.
	SuperPackets bool
	// Reassembles: a datagram that comes in fragments is counted whole, with one header. That is asserted to the byte.
	Reassembles bool
	// DropsUncounted: malformed packets, and those to addresses that cannot be, may be dropped by what is below the dataplane,
	// which does not tell it. They are not looked for in the counters; that none arrived, that none left where the rig is a
	// [WatchedRig], and that everything goes on, is asserted all the same.
	DropsUncounted bool
	// Emulated: the machine is an emulated one, and much too slow. A limit that is not reached is then judged as under the
	// race detector: it is the machine if the flow is hardly faster without the limit. It must reach nine tenths. Nor is a stall a failure when the
	// machine kept the process waiting for more than a tenth of the time. Fewer changes are enough beside other traffic.
	Emulated bool
}

const (
	// superPacket is the largest packet that segments are merged into.
	superPacket = 1 << 16
	// segmentHeaders is the most that a segment bears of headers, which are IPv6's and TCP's with timestamps (RFC 7323).
	segmentHeaders = header.IPv6MinimumSize + header.TCPMinimumSize + 12
)

// passed is what the dataplane let pass of a flow: what it counted, unless that has what it dropped later. It asserts that no
// less was counted than delivered.
func (w *world) passed(f *flow) uint64 {
	w.t.Helper()
	if f.direction != quota.Download || !w.traits.MeteredBeforeQueue {
		return directed(w.counters(f.client), f.direction)
	}
	delivered := f.delivered()
	require.GreaterOrEqual(w.t, w.mostDelivered(w.counters(f.client).Download, f.client), delivered,
		"%s: more was delivered than counted", f.name)
	return delivered
}

// mostDelivered is the most that may have been delivered to a client, over TCP or otherwise, when so much was counted.
func (w *world) mostDelivered(counted uint64, c *client) uint64 {
	if !w.traits.SuperPackets {
		return counted
	}
	mtu := uint64(c.cfg.MTU)
	return counted * mtu / (mtu - segmentHeaders)
}

// cutSize is the size of the packet that a cap cuts TCP off at, at most.
func (w *world) cutSize(c *client) uint64 {
	if w.traits.SuperPackets {
		return superPacket
	}
	return uint64(c.cfg.MTU)
}

// agree waits until what was delivered to a client over TCP is what was counted.
func (w *world) agree(c *client) {
	w.t.Helper()
	w.eventually(func() bool {
		delivered, counted := c.received.bytes.Load(), w.counters(c).Download
		return delivered <= w.mostDelivered(counted, c) && (delivered >= counted || w.traits.MeteredBeforeQueue)
	}, "bytes delivered to the client are never those counted")
}
