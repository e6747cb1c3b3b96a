package htb

import (
	"math"
	"math/bits"
	"time"

	"github.com/florianl/go-tc"

	"github.com/waylume/waylume/shaping"
)

const (
	// tick is what HTB counts time in (include/net/pkt_sched.h, PSCHED_SHIFT), in ns.
	tick = 64
	// superPacket is the longest that a device hands over in one piece (GSO_LEGACY_MAX_SIZE), in bytes.
	superPacket = 64 << 10
	// inOnePiece is how many packets of the planner's quantum, which is one's length or more, a class may hand over as one and still
	// get no more than its siblings. HTB takes one piece from each class in turn, whatever it still owes of those before
	// (net/sched/sch_htb.c, htb_dequeue_tree): of pieces longer than the quantum siblings get shares as these are long. TCP sends
	// two segments as one even at the lowest rates (tcp_min_tso_segs), faster flows what they have for 1 ms, and flows of round
	// trips below a few ms up to 64 KiB (tcp_tso_rtt_log). Enough for all would be 64 KiB, for which a quiet sibling would wait once
	// for each busy one: 52 ms at 10 Mbit/s.
	inOnePiece = 2
	// flows of an fq_codel; 68 bytes each.
	flows = 32
	// minMemory of an fq_codel covers one super-packet of which each segment has a page, in bytes with overhead.
	minMemory = 256 << 10
	// ethernet is TC_LINKLAYER_ETHERNET: a packet counts what it is long, and the kernel wants no rate table.
	ethernet = 1
)

// classParams are what the kernel says of a class, as far as we set it. The zero value is a class that is not there.
type classParams struct {
	rate, ceil      uint64 // byte/s
	buffer, cbuffer uint32 // ticks
	quantum, prio   uint32
}

// unknownClass may be there or not: a request for it failed.
func unknownClass() classParams { return classParams{ceil: math.MaxUint64} }

// exists reports that the class is there, or may be.
func (p classParams) exists() bool { return p != classParams{} }

// isKnown reports that the class is there.
func (p classParams) isKnown() bool { return p.exists() && p != unknownClass() }

func classOf(p shaping.Params) classParams {
	c := classParams{rate: bytesPerSecond(p.Rate), ceil: bytesPerSecond(p.Ceil), quantum: uint32(inOnePiece * p.Quantum)}
	c.buffer, c.cbuffer = ticks(p.Burst, c.rate), ticks(p.Cburst, c.ceil)
	return c
}

// bytesPerSecond rounds down, but never to 0, which HTB refuses.
func bytesPerSecond(r shaping.Rate) uint64 { return max(uint64(r/8), 1) }

// ticks returns how long n bytes take, rounded up, as far as HTB can count: 275 s. More is never of use, since HTB forgets
// debts above 60 s.
func ticks(n int, rate uint64) uint32 {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second))
	lo, carry := bits.Add64(lo, rate*tick-1, 0)
	if hi += carry; hi >= rate*tick {
		return math.MaxUint32
	}
	q, _ := bits.Div64(hi, lo, rate*tick)
	return uint32(min(q, math.MaxUint32))
}

func (p classParams) object(ifindex uint32, c Class, parent uint32) *tc.Object {
	low := func(rate uint64) tc.RateSpec {
		return tc.RateSpec{Linklayer: ethernet, Rate: uint32(min(rate, math.MaxUint32))}
	}
	o := &tc.Object{Msg: tc.Msg{Ifindex: ifindex, Handle: classID(c), Parent: parent}}
	o.Kind = "htb"
	o.Htb = &tc.Htb{Parms: &tc.HtbOpt{
		Rate: low(p.rate), Ceil: low(p.ceil), Buffer: p.buffer, Cbuffer: p.cbuffer, Quantum: p.quantum, Prio: p.prio,
	}}
	if p.rate > math.MaxUint32 {
		o.Htb.Rate64 = &p.rate
	}
	if p.ceil > math.MaxUint32 {
		o.Htb.Ceil64 = &p.ceil
	}
	return o
}

const (
	rootHandle uint32 = 1 << 16
	noParent   uint32 = math.MaxUint32 // TC_H_ROOT
)

func classID(c Class) uint32 { return rootHandle | uint32(c) }

// queueHandle is that of the leaf qdisc of a class. Each is set: of those that the kernel chooses it has but 32,768.
func queueHandle(c Class) uint32 { return uint32(c) << 16 }

// queueKind is which qdisc a leaf has.
type queueKind uint8

const (
	queueNone    queueKind = iota // the kernel's default, which is not shown and has no handle
	queueUnknown                  // a request for it failed
	queueForeign                  // none of ours
	queueBfifo
	queueTbf
	queueFqCodel
)

// queueParams are what the kernel says of a leaf's qdisc, as far as we set it. The zero value is that of a new class.
type queueParams struct {
	kind                     queueKind
	limit                    uint32 // bytes of a bfifo or tbf, packets of an fq_codel
	longest                  uint32 // packet of a tbf, in bytes
	memory, flows, quantum   uint32
	targetMicros, everMicros uint32 // target and interval
}

func queueOf(kind queueKind, p shaping.Params) queueParams {
	switch kind {
	case queueBfifo:
		return plainQueueOf(p)
	case queueTbf:
		return segmentingQueueOf(p)
	}
	return queueParams{
		kind:         queueFqCodel,
		limit:        uint32(min(max(p.QueueBytes/256, 128), 10240)),
		memory:       uint32(2*p.QueueBytes + minMemory),
		flows:        flows,
		quantum:      uint32(p.Quantum),
		targetMicros: codelMicros(p.Target),
		everMicros:   codelMicros(p.Interval),
	}
}

// codelMicros rounds as the kernel does, which counts in units of 1,024 ns (include/net/codel.h), so that what it says of a
// queue compares with what it was told.
func codelMicros(d time.Duration) uint32 {
	us := uint64(min(max(d.Microseconds(), 0), math.MaxUint32))
	return uint32((us * 1000 >> 10 << 10) / 1000)
}

// object is the request for a queue; a new one says how many flows, which cannot be changed later.
func (p queueParams) object(ifindex uint32, c Class, isNew bool) *tc.Object {
	o := &tc.Object{Msg: tc.Msg{Ifindex: ifindex, Handle: queueHandle(c), Parent: classID(c)}}
	switch p.kind {
	case queueBfifo:
		o.Kind = "bfifo"
		o.Bfifo = &tc.FifoOpt{Limit: p.limit}
		return o
	case queueTbf:
		o.Kind = "tbf"
		o.Tbf = &tc.Tbf{Parms: &tc.TbfQopt{Limit: p.limit}, Burst: &p.longest}
		return o
	}
	o.Kind = "fq_codel"
	// One more, or what the kernel rounds down to would be rounded down again.
	target, interval := p.targetMicros+1, p.everMicros+1
	o.FqCodel = &tc.FqCodel{Target: &target, Interval: &interval, Limit: &p.limit, MemoryLimit: &p.memory, Quantum: &p.quantum}
	if isNew {
		o.FqCodel.Flows = &p.flows
	}
	return o
}

func rootObject(ifindex uint32) *tc.Object {
	o := &tc.Object{Msg: tc.Msg{Ifindex: ifindex, Handle: rootHandle, Parent: noParent}}
	o.Kind = "htb"
	o.Htb = &tc.Htb{Init: &tc.HtbGlob{Version: 3, Rate2Quantum: 10}} // version of TC_HTB_PROTOVER; default class 0
	return o
}
