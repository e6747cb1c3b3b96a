package crashtest

import (
	"fmt"
	"time"

	"github.com/waylume/waylume/internal/testutil/datagram"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// topUp adds to a cap, for the period that runs.
func (c *capped) topUp(bytes quota.Bytes, at span) {
	*c.extra = append((*c.extra)[:len(*c.extra):len(*c.extra)], topUp{bytes, at})
}

// room is the cap with what was topped up in the period that runs, at least and at most; 0 without a cap.
func (c *capped) room(at span) (low, high quota.Bytes) {
	if c.limit.Bytes == 0 {
		return 0, 0
	}
	low, high = c.limit.Bytes, c.limit.Bytes
	boundary, _ := boundaryOf(c.limit.Period)
	for _, t := range *c.extra {
		if ended := isPast(boundary, at.to); !ended || isPast(boundary, t.at.from) {
			low += t.bytes
		}
		if ended := isPast(boundary, at.from); !ended || isPast(boundary, t.at.to) {
			high += t.bytes
		}
	}
	return low, high
}

// compareRoom checks the limit and the period of a subject's cap.
func compareRoom(s *shard, of subject, c *contents, at span) error {
	u, limit := c.Usage[of.String()], s.capOf(of)
	if low, high := limit.room(at); u.Limit < low || u.Limit > high {
		return fmt.Errorf("the cap of %s with what was topped up is %v, want %v to %v", of, u.Limit, low, high)
	}
	return checkPeriod(of, limit.limit.Period, u.Usage, at)
}

// checkPeriod checks that the period runs that it is time for.
func checkPeriod(of subject, p quota.Period, u quota.Usage, at span) error {
	boundary, ok := boundaryOf(p)
	ended := ok && u.PeriodStart.Equal(boundary) && isPast(boundary, at.to)
	runs := ok && u.PeriodEnd.Equal(boundary) && !isPast(boundary, at.from)
	if ok && !ended && !runs {
		return fmt.Errorf("the period of %s is from %v to %v, as of %v to %v, and one begins at %v", of, u.PeriodStart, u.PeriodEnd,
			at.from, at.to, boundary)
	}
	return nil
}

// after is what a start makes of a usage record with what is counted then: a period ends before what was not stored is counted,
// if it ends before the node looks.
func (u storedUsage) after(counters quota.Counters, at span) (all []quota.Usage) {
	for _, t := range []time.Time{at.from, at.to} {
		ledger := u.Ledger.Clone()
		ledger.Advance(t, u.Counters)
		all = append(all, ledger.Usage(at.to, counters), u.Ledger.Usage(t, counters))
	}
	return all
}

// runs reports whether the period that begins at a time was stored.
func (u storedUsage) runs(from time.Time) bool {
	return u.Ledger.Usage(u.Ledger.Now(), u.Counters).PeriodStart.Equal(from)
}

// judgePeriod checks what a node says of a subject's period when it has started: as long as that runs what is used moves with
// the counters, byte for byte; and it begins with nothing.
func (c *caller) judgePeriod(s subject, u wgnode.Usage, stored storedUsage, by kept, died, written time.Time) error {
	before, known := c.base[s]
	limit := *c.shard.capOf(s).limit
	if !known || c.touched[s] || c.recapped[s] {
		return nil
	}
	counted, used := u.Counters.Of(limit.Counted), uint64(u.Used)
	boundary, ok := boundaryOf(limit.Period)
	if !ok || !u.PeriodStart.Equal(boundary) || before.PeriodStart.Equal(boundary) {
		if by != keptByStore && ok && !stored.runs(boundary) && used == counted-stored.Counters.Of(limit.Counted) {
			return nil // the end of the period before was not stored: it came again, and what was not stored either is after it
		}
		if used-uint64(before.Used) != counted-before.Counters.Of(limit.Counted) {
			return fmt.Errorf("%s has used %v of its cap after the start, and counted %v, but %v and %v when the node started before",
				s, u.Used, u.Counters, before.Used, before.Counters)
		}
		return nil
	}
	c.rolled++
	low, high := uint64(0), counted-min(counted, c.cameBy(s, boundary).Of(limit.Counted))
	if boundary.Before(c.began) {
		high = counted - min(counted, before.Counters.Of(limit.Counted))
	}
	if by != keptByStore { // what was not stored when the period ended, and is known all the same, counts in the new one
		high = max(high, counted-stored.Counters.Of(limit.Counted))
	}
	if settled := boundary.Add(lateness); settled.Before(written) && !isPast(c.closedFrom(s), written) {
		low = c.cameBy(s, written).Of(limit.Counted)
		low -= min(low, plus(before.Counters, c.sinceLook(s, settled, (*client).cameAfter)).Of(limit.Counted))
	}
	if by == keptByStore && boundary.After(died) {
		high = 0
	}
	switch {
	case used < low || used > high:
		return fmt.Errorf("%s has used %v of its cap since %v, want %d to %d; it has counted %v, and %v before", s, u.Used, boundary,
			low, high, u.Counters, before.Counters)
	case u.Limit < datagram.Headers+datagram.MaxPayload:
		// A packet may have been larger than the whole cap, which leaves the budget where it was: it is used up in the new period, too.
	case used == 0 && (u.Depleted || u.Remaining != u.Limit):
		return fmt.Errorf("%s has %v left of its cap of %v, which nothing is used of since %v", s, u.Remaining, u.Limit, boundary)
	}
	return nil
}

// judgeReading checks what a node says of a subject's period while it lives.
func (c *caller) judgeReading(s subject, u wgnode.Usage, at span) error {
	limit := *c.shard.capOf(s).limit
	if err := checkPeriod(s, limit.Period, u.Usage, at); err != nil {
		return err
	}
	before, known := c.base[s]
	if !known || c.touched[s] || c.recapped[s] {
		return nil
	}
	counted, used := u.Counters.Of(limit.Counted), uint64(u.Used)
	offset, at0 := before.Counters.Of(limit.Counted)-uint64(before.Used), before.PeriodStart
	if boundary, ok := boundaryOf(limit.Period); ok && u.PeriodStart.Equal(boundary) && !at0.Equal(boundary) {
		if isPast(boundary, at.done) {
			if first, ok := c.offsets[s]; !ok {
				c.offsets[s] = counted - used
			} else if counted-used != first {
				return fmt.Errorf("%s has used %v of its cap since %v, and counted %v: the period began at %d, and not where it did "+
					"before, at %d", s, u.Used, boundary, u.Counters, counted-used, first)
			}
		}
		if used > counted-before.Counters.Of(limit.Counted) {
			return fmt.Errorf("%s has used %v of its cap since %v, and counted no more than from %v to %v", s, u.Used, boundary,
				before.Counters, u.Counters)
		}
		return nil
	}
	if counted-used != offset {
		return fmt.Errorf("%s has used %v of its cap, and counted %v, but %v and %v when the node started", s, u.Used, u.Counters,
			before.Used, before.Counters)
	}
	return nil
}
