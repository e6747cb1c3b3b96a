package wgnode

import (
	"context"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// UsageLog keeps what subjects have used over time; [usagelog.Log] is one, and says what each call does. A node is the only one
// to write to its log. One that also has a method Sequence() uint64, which returns the highest sequence number that it has
// seen, keeps a node whose store was restored from an older backup from giving a number again; one that has a method Damage()
// []usagelog.Damage has it logged at the start.
type UsageLog interface {
	Append(ctx context.Context, at time.Time, readings []usagelog.Reading) error
	AppendSome(ctx context.Context, at time.Time, readings []usagelog.Reading) error
	Usage(ctx context.Context, from, to time.Time, match func(usagelog.Subject) bool) (usagelog.Summary, error)
	Series(ctx context.Context, subject usagelog.Subject, bounds []time.Time) (usagelog.Series, error)
	Close() error
}

var _ UsageLog = (*usagelog.Log)(nil)

// dividesDays reports whether hours, or at least days, begin with a reading that is made at multiples of a period.
func dividesDays(period time.Duration) bool {
	const day = 24 * time.Hour
	return period > 0 && (time.Hour%period == 0 || period%time.Hour == 0 && day%period == 0)
}

// nextReading is when the usage log is due after a time, by the wall clock: at a multiple of the period, so that hours and days
// begin with a reading. The zero time: never.
func (n *Node) nextReading(now time.Time) time.Time {
	if n.usageLog == nil {
		return time.Time{}
	}
	return now.UTC().Truncate(n.cfg.UsageLogPeriod).Add(n.cfg.UsageLogPeriod)
}

// readAt is the time that a reading gets. One that comes late by no more than a hundredth of the period is of the time at which
// it was due, lest it belong to the hour after.
func (n *Node) readAt(now time.Time) time.Time {
	if due := now.UTC().Truncate(n.cfg.UsageLogPeriod); now.Sub(due) <= n.cfg.UsageLogPeriod/100 {
		return due
	}
	return now
}

// usageDue reports whether all counters are to be logged now.
func (n *Node) usageDue(due *schedule, now time.Time) bool {
	if n.usageLog == nil {
		return false
	}
	n.usageLog.look(now)
	if due.usage.Sub(now) > n.cfg.UsageLogPeriod { // the clock was set back
		due.usage = n.nextReading(now)
	}
	return !due.usage.After(now) || n.usageLog.retries(now)
}

// logAll hands the counters of all entities, as they were read last, to the usage log. The caller holds the slot.
func (n *Node) logAll(at time.Time) (written <-chan struct{}) {
	readings := make([]usagelog.Reading, 0, len(n.inv.accounts)+n.inv.peers.Len())
	for e := range n.inv.entities {
		readings = append(readings, logged(e))
	}
	return n.usageLog.appendAll(at, readings)
}

// logLast hands the last readings of entities that are about to leave to the usage log, if there is one, before the store
// forgets them. It waits until they are written, but no longer than is reasonable: what was not is written later.
func (n *Node) logLast(ctx context.Context, readings []usagelog.Reading) {
	if n.usageLog == nil || len(readings) == 0 {
		return
	}
	n.usageLog.wait(ctx, n.usageLog.appendSome(time.Now(), readings))
}

// lastReadings are the readings of entities as they are.
func lastReadings[E entity](entities []E) []usagelog.Reading {
	readings := make([]usagelog.Reading, len(entities))
	for i, e := range entities {
		readings[i] = logged(e)
	}
	return readings
}

// succeeded are the last readings of peers under the keys that they lose, and the first under those that they get.
func succeeded(drafts []draft) (readings []usagelog.Reading) {
	for _, d := range drafts {
		if d.e.subject() != d.next.subject() {
			readings = append(readings, logged(d.e), logged(d.next))
		}
	}
	return readings
}

// logged is the reading of the entity for the usage log, which knows a peer by its key: what it used under former keys is not
// in it.
func logged(e entity) usagelog.Reading {
	c := e.common()
	former := c.formerKeys().all
	return usagelog.Reading{Subject: loggedAs(e.subject(), c.sequence), Counters: usagelog.Counters{
		Download: above(c.counters.Download, former.Download), Upload: above(c.counters.Upload, former.Upload),
	}}
}

// maxKeysBefore is of how many keys a peer knows what it used under them.
const maxKeysBefore = 8

// keyUse is what a peer used under a key that it had, as the usage log knows it.
type keyUse struct {
	Key      string         `json:"key"`
	Counters quota.Counters `json:"counters"`
}

// keyUses is what a peer used under all keys that it had before its present one, and under each of the last of them.
type keyUses struct {
	all  quota.Counters
	each []keyUse
}

// kept is what a core keeps of it: nil if there is none.
func (u keyUses) kept() *keyUses {
	if u.all == (quota.Counters{}) && len(u.each) == 0 {
		return nil
	}
	return &u
}

func (c *core) formerKeys() keyUses {
	if c.rekeyed == nil {
		return keyUses{}
	}
	return *c.rekeyed
}

// changeKey has the peer go on under another key. For the usage log its counters begin anew, or, under one of the last keys that it
// had, where they were.
func (p *peer) changeKey(to wgtypes.Key) {
	left := logged(p)
	before := []keyUse{{left.Subject.Name, countersOf(left.Counters)}}
	p.key, p.formerKey = to, optional(p.key)
	c := &p.core
	all := c.counters
	for _, use := range c.formerKeys().each {
		if use.Key == loggedAs(p.subject(), 0).Name {
			all.Download = above(c.counters.Download, use.Counters.Download)
			all.Upload = above(c.counters.Upload, use.Counters.Upload)
		} else {
			before = append(before, use)
		}
	}
	if before[0].Counters == (quota.Counters{}) {
		before = before[1:]
	}
	c.rekeyed = keyUses{all, before[:min(len(before), maxKeysBefore)]}.kept()
}

// above is by how much a counter is above where it was.
func above(n, was uint64) uint64 { return max(n, was) - was }

// openLog says what there is to say of the usage log when the node starts, and has the node give no number that the log has
// seen.
func (n *Node) openLog(inv *inventory) {
	if log, ok := n.cfg.UsageLog.(interface{ Damage() []usagelog.Damage }); ok {
		for _, d := range log.Damage() {
			n.log.Warn("usage log is damaged", "damage", d)
		}
	}
	if log, ok := n.cfg.UsageLog.(interface{ Sequence() uint64 }); ok {
		inv.sequence = max(inv.sequence, log.Sequence())
	}
}

// countersOf are the log's counters in the node's words.
func countersOf(c usagelog.Counters) quota.Counters {
	return quota.Counters{Download: c.Download, Upload: c.Upload}
}
