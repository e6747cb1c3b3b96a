package htb

import (
	"encoding/binary"

	"github.com/florianl/go-tc"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/shaping"
)

// A plain queue stands in for fq_codel where the kernel has none. All flows of a leaf wait in it together, and TCP fills whatever
// there is: so it is short.
//
// Where the kernel has tbf (net/sched/sch_tbf.c) the queue is that of one whose rate nothing reaches: for the sake of its other
// work, which is to cut GSO super-packets into segments before it queues them. HTB sends what is queued in one piece: 64 KiB
// take 52 ms at 10 Mbit/s, for which nothing else of the leaf moves; and a queue must be able to hold one, or it would never pass.

const (
	// plainPart is which part of the time that the plan allows a queue is that of a plain one: 50 ms of 200 ms. TCP fills it, and
	// whatever else the leaf has waits as long. In 10 ms of 10 Mbit/s CUBIC comes to 8.9 Mbit/s over a round trip of 50 ms, in 50 ms
	// to 9.9 (measured).
	plainPart = 4
	// minPlain is how many packets it holds at least, for a TCP that has just begun (initial window of RFC 6928).
	minPlain = 10
	// segmentPart is how long a super-packet may take, as a part of the time that a plain queue holds, before it is cut: an eighth.
	// Above some 84 Mbit/s cutting would cost more than it is good for.
	segmentPart = 8
	// unsegmented is the longest packet of a tbf that cuts nothing.
	unsegmented = 1 << 20
)

// plainBytes is the bound of a plain queue. The planner's quantum is a packet's length or more.
func plainBytes(p shaping.Params) int { return max(p.QueueBytes/plainPart, minPlain*p.Quantum) }

func plainQueueOf(p shaping.Params) queueParams {
	return queueParams{kind: queueBfifo, limit: uint32(max(plainBytes(p), superPacket+p.Quantum))}
}

func segmentingQueueOf(p shaping.Params) queueParams {
	limit := plainBytes(p)
	if limit < segmentPart*superPacket {
		// A tbf drops what is no super-packet and longer than that, which who has a larger MTU than the tunnel's may send.
		return queueParams{kind: queueTbf, limit: uint32(limit), longest: uint32(inOnePiece * p.Quantum)}
	}
	return queueParams{kind: queueTbf, limit: uint32(limit), longest: unsegmented}
}

// Attributes and structures of linux/pkt_sched.h. What the longest packet is, the kernel does not say; so the rate does, which is
// that much above one that nothing reaches and at which a packet takes no time that the kernel can count, in byte/s.
const (
	tbfParms, tbfRate64, tbfBurst = 1, 4, 6

	tbfQoptLen, tbfQoptLimit = 36, 24 // struct tc_tbf_qopt: two struct tc_ratespec of 12 bytes, limit, buffer, mtu
	rateSpecLinkLayer        = 1
	rateSpecRate             = 8

	tbfRate = 1 << 42
)

// writeTbf is write for a tbf. Package tc cannot say a rate above 32 bits.
func (s *socket) writeTbf(op operation, o *tc.Object) error {
	flags := netlink.Request | netlink.Acknowledge
	switch op {
	case addQdisc:
		flags |= netlink.Create | netlink.Excl
	case replaceQdisc:
		flags |= netlink.Create | netlink.Replace
	case changeQdisc:
	default:
		return unix.EINVAL // it is no class
	}
	parms := make([]byte, tbfQoptLen)
	parms[rateSpecLinkLayer] = ethernet
	binary.NativeEndian.PutUint32(parms[rateSpecRate:], ^uint32(0))
	binary.NativeEndian.PutUint32(parms[tbfQoptLimit:], o.Tbf.Parms.Limit)
	e := netlink.NewAttributeEncoder()
	e.String(unix.TCA_KIND, o.Kind)
	e.Nested(unix.TCA_OPTIONS, func(e *netlink.AttributeEncoder) error {
		e.Bytes(tbfParms, parms)
		e.Uint64(tbfRate64, tbfRate+uint64(*o.Tbf.Burst))
		e.Uint32(tbfBurst, *o.Tbf.Burst)
		return nil
	})
	options, err := e.Encode()
	if err != nil {
		return err
	}
	data := make([]byte, tcmsgLen, tcmsgLen+len(options))
	binary.NativeEndian.PutUint32(data[4:], o.Ifindex)
	binary.NativeEndian.PutUint32(data[8:], o.Handle)
	binary.NativeEndian.PutUint32(data[12:], o.Parent)
	_, err = s.reader.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWQDISC, Flags: flags}, Data: append(data, options...),
	})
	return err
}

// parseTbf reads one back. One of another rate is not ours.
func parseTbf(options []byte) (queueParams, error) {
	q := queueParams{kind: queueForeign}
	var limit uint32
	var rate uint64
	err := attributes(options, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case tbfParms:
			if b := d.Bytes(); len(b) >= tbfQoptLen {
				limit = binary.NativeEndian.Uint32(b[tbfQoptLimit:])
			}
		case tbfRate64:
			rate = d.Uint64()
		}
	})
	if rate > tbfRate && rate <= tbfRate+unsegmented {
		q = queueParams{kind: queueTbf, limit: limit, longest: uint32(rate - tbfRate)}
	}
	return q, err
}
