package shaping

import (
	"math"
	"time"

	"github.com/waylume/waylume/internal/packet"
)

// codelParams are what CoDel obeys at one dequeue; times in nanoseconds.
type codelParams struct {
	target, interval int64
	spared           int32 // bytes behind a packet with which it is not dropped
}

const (
	// lossPackets must follow a lost one for TCP to repeat it at once (RFC 5681 section 3.2, RFC 6675). With fewer the loss costs a
	// time-out, of 200 ms or more, in which a short queue runs empty.
	lossPackets = 3
	// lossWait is how long a queue may be for that, in ns. At rates so low that the packets take longer the time-out costs less.
	lossWait = int64(50 * time.Millisecond)
)

// spare sets how much may stand in a queue of packets of at most mtu bytes, three of which take two slots: lossPackets, if that many
// pass within lossWait, but never less than one.
func (c *codelParams) spare(mtu int32, slot int64) {
	packets := int64(lossPackets)
	if slot > 0 {
		packets = min(max(lossWait*3/(2*slot), 1), packets)
	}
	c.spared = mtu * int32(packets)
}

// codel is the state of RFC 8289 section 5 for one queue. The zero value is that of a new queue.
type codel struct {
	firstAbove int64 // when the delay will have been above target for an interval; 0 while it is below
	dropNext   int64
	count      uint32 // drops since dropping began
	lastCount  uint32 // count as it was when dropping began
	dropping   bool
	numbered   bool   // highest is set
	highest    uint32 // sequence number of the flow's TCP segments so far
}

// maxBehind is how far, in bytes, a repeated segment may be behind the highest one: further than the window of a sender reaches that
// has to wait for tokens. One still further behind is of a later connection between the same ports.
const maxBehind = 16 << 20

// repeats reports whether a packet of the flow carries what it has sent before. That a sender repeats is because the first was lost;
// were it lost again, the sender would wait for a time-out, while the queue runs empty (RFC 6675 section 4, NextSeg, repeats nothing twice).
func (c *codel) repeats(p *Packet) bool {
	sequence, ok := packet.TCPData(p.Data)
	if !ok {
		return false
	}
	if behind := int32(c.highest - sequence); c.numbered && behind >= 0 && behind <= maxBehind {
		return true
	}
	c.highest, c.numbered = sequence, true
	return false
}

// dequeue takes the next packet that CoDel lets through from q, and frees those that it drops. It returns nil for an empty
// queue. The steps and names are those of RFC 8289 sections 5.5 and 5.6, but for what a sender repeats, which is never dropped: the next
// packet that is new is, once.
func (c *codel) dequeue(q *flowQueue, now int64, params codelParams, dropped *tally) *Packet {
	p, okToDrop := c.doDequeue(q, now, params)
	switch {
	case p == nil || !okToDrop:
		c.dropping = false
	case p.repeated:
		if c.dropping { // what was due meanwhile would else be dropped at once, of the first new ones
			c.dropNext = max(c.dropNext, now)
		}
	case c.dropping:
		for c.dropping && now >= c.dropNext && !p.repeated {
			dropped.free(p)
			c.count++
			if p, okToDrop = c.doDequeue(q, now, params); okToDrop {
				c.dropNext = controlLaw(c.dropNext, params.interval, c.count)
			} else {
				c.dropping = false
			}
		}
	default:
		dropped.free(p)
		p, _ = c.doDequeue(q, now, params)
		c.dropping = true
		// Soon after the last time, the drop rate that controlled the queue then is a better start than one.
		delta := c.count - c.lastCount
		c.count = 1
		if delta > 1 && now-c.dropNext < 16*params.interval {
			c.count = delta
		}
		c.dropNext = controlLaw(now, params.interval, c.count)
		c.lastCount = c.count
	}
	return p
}

// doDequeue takes the next packet and reports whether the delay has been above target for an interval. A queue that holds no
// more behind it than what is spared is never a standing one.
func (c *codel) doDequeue(q *flowQueue, now int64, params codelParams) (p *Packet, okToDrop bool) {
	p = q.pop()
	switch {
	case p == nil:
		c.firstAbove = 0
	case now-p.queuedAt < params.target || q.bytes <= params.spared:
		c.firstAbove = 0
	case c.firstAbove == 0:
		c.firstAbove = now + params.interval
	default:
		okToDrop = now >= c.firstAbove
	}
	return p, okToDrop
}

// controlLaw spaces drops by the inverse square root of their number, to which TCP's throughput answers linearly.
func controlLaw(t, interval int64, count uint32) int64 {
	return t + int64(float64(interval)/math.Sqrt(float64(count)))
}

// tally counts packets and their bytes.
type tally struct {
	packets, bytes uint64
}

func (t *tally) add(p *Packet) { t.count(len(p.Data)) }

func (t *tally) count(size int) {
	t.packets++
	t.bytes += uint64(size)
}

// free counts a packet and gives it back.
func (t *tally) free(p *Packet) {
	t.add(p)
	p.Free()
}
