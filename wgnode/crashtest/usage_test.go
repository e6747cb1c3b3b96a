package crashtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waylume/waylume/internal/testutil/datagram"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

func plus(a, b quota.Counters) quota.Counters {
	return quota.Counters{Download: a.Download + b.Download, Upload: a.Upload + b.Upload}
}

// within reports whether both counters of c are between those of two others.
func within(low, c, high quota.Counters) bool {
	return low.Download <= c.Download && c.Download <= high.Download && low.Upload <= c.Upload && c.Upload <= high.Upload
}

// cameBy is what a subject had used when the life began, and what of its clients had come by a time; nothing if that is before.
func (c *caller) cameBy(s subject, t time.Time) quota.Counters {
	if t.Before(c.began) {
		return quota.Counters{}
	}
	return plus(c.base[s].Counters, c.sinceLook(s, t, (*client).cameBy))
}

// sinceLook adds up what the clients of a subject have that came by a time.
func (c *caller) sinceLook(s subject, t time.Time, by func(*client, time.Time) quota.Counters) (total quota.Counters) {
	for _, client := range c.clients {
		if client.peer == s || s.Account != "" && client.account == s {
			total = plus(total, by(client, t))
		}
	}
	return total
}

// sum adds up what the tallies of a subject's clients say.
func (c *caller) sum(s subject, say func(*tally) quota.Counters) (total quota.Counters) {
	for _, client := range c.clients {
		if client.peer == s || s.Account != "" && client.account == s {
			total = plus(total, say(client.tally))
		}
	}
	return total
}

// went is what may have been counted for a subject at most: what it had, and all that the shard's clients were part of.
func (c *caller) went(s subject) quota.Counters {
	total := c.base[s].Counters
	for _, client := range c.clients {
		total = plus(total, client.tally.went())
	}
	return total
}

// judge checks counters that were read in this life, when came had come of it before.
func (c *caller) judge(s subject, counters, came quota.Counters) error {
	low, high := plus(c.base[s].Counters, came), c.went(s)
	if isPast(c.closedFrom(s), now()) { // what comes while it is closed is not counted
		low = c.base[s].Counters
	}
	if c.touched[s] {
		low = quota.Counters{}
	}
	if !within(low, counters, high) {
		return fmt.Errorf("%s has used %v: %v had come before, and not more than %v was sent", s, counters, low, high)
	}
	return nil
}

// judgeCaps checks, when a life is over, that no more has passed than caps had left, and returns how many were used up.
func (c *caller) judgeCaps(died time.Time) (exhausted int, err error) {
	var errs []error
	for s, limit := range c.caps {
		base := c.base[s]
		if limit.Bytes == 0 || limit.AtEnd != quota.Block || c.touched[s] || c.recapped[s] {
			continue
		}
		passed := c.sum(s, (*tally).came).Of(limit.Counted)
		left := uint64(base.Remaining + c.topped[s])
		if base.Remaining == 0 && base.Used < base.Limit && c.topped[s] > 0 { // it was cut off with less left than a packet
			left += uint64(base.Limit - base.Used)
		}
		if boundary, ok := boundaryOf(limit.Period); ok && isPast(boundary, died) && base.PeriodEnd.Equal(boundary) {
			if before := c.sinceLook(s, boundary, (*client).cameBy).Of(limit.Counted); before > left {
				errs = append(errs, fmt.Errorf("%d bytes have passed of %s before %v, whose cap %v had %d left", before, s, boundary, limit, left))
			}
			left += uint64(limit.Bytes)
		}
		if passed > left {
			errs = append(errs, fmt.Errorf("%d bytes have passed of %s, whose cap %v had %d left", passed, s, limit, left))
		}
		if passed > 0 && left-passed < datagram.MaxPayload {
			exhausted++
		}
	}
	return exhausted, errors.Join(errs...)
}

// caps are the caps of the shard's subjects.
func (s *shard) caps() map[subject]quota.Cap {
	all := make(map[subject]quota.Cap)
	for _, of := range s.present() {
		all[of] = *s.capOf(of).limit
	}
	return all
}

// storedUsage is a usage record.
type storedUsage struct {
	Counters quota.Counters `json:"counters"`
	Ledger   *quota.Ledger  `json:"ledger"`
}

// usageOf is what a store has of a subject's usage.
func (m *mirror) usageOf(s subject) (u storedUsage, err error) {
	id := recordID{wgnode.RecordPeerUsage, s.Peer.String()}
	if s.Account != "" {
		id = recordID{wgnode.RecordAccountUsage, s.Account}
	}
	err = json.Unmarshal([]byte(m.records[id]), &u)
	return u, err
}

// kept says who has what was counted before a start.
type kept int

const (
	keptByStore  kept = iota // nobody else
	keptByKernel             // it has counted on
	keptByEither             // the kernel may have forgotten it by now
)

// judgeStart checks what a node says of a subject's usage when it has started, before anything passes. It returns how much was
// lost.
// Written is by when all that had come in the life before must be stored.
func (c *caller) judgeStart(s subject, u wgnode.Usage, stored storedUsage, at span, by kept, written time.Time) (lost uint64, err error) {
	if high := c.went(s); !within(stored.Counters, u.Counters, high) {
		return 0, fmt.Errorf("%s has used %v after the start: %v is stored, and not more than %v was sent", s, u.Counters, stored.Counters, high)
	}
	if want := stored.after(u.Counters, at); !slices.ContainsFunc(want, func(w quota.Usage) bool {
		return u.Used == w.Used && u.Limit == w.Limit && u.Depleted == w.Depleted
	}) {
		return 0, fmt.Errorf("%s has used %v of its cap after the start, want %v by what is stored", s, u.Usage, want)
	}
	closed := isPast(c.closedFrom(s), at.from) // then what came last may not have been counted
	if closed {
		written = sooner(written, c.closedFrom(s))
	}
	before, known := c.base[s]
	came := plus(before.Counters, c.sum(s, (*tally).came))
	switch {
	case !known || c.touched[s]:
		return 0, nil
	case !within(c.cameBy(s, written), stored.Counters, c.went(s)):
		return 0, fmt.Errorf("%s has used %v by what is stored, and %v had come by %v", s, stored.Counters, c.cameBy(s, written), written)
	case by == keptByStore && u.Counters != stored.Counters:
		return 0, fmt.Errorf("%s has used %v after the start, and %v is stored", s, u.Counters, stored.Counters)
	case closed:
		return 0, nil
	case by == keptByKernel && (u.Counters.Upload != came.Upload || u.Counters.Download < came.Download):
		return 0, fmt.Errorf("%s has used %v after the start, and %v has come, of %v that was sent, to %v before; %v is stored",
			s, u.Counters, came, c.went(s), before.Counters, stored.Counters)
	}
	return came.Of(quota.CountBoth) - min(u.Counters.Of(quota.CountBoth), came.Of(quota.CountBoth)), nil
}
