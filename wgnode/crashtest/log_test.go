package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// logPatience is for how long a node waits for its usage log at least.
const logPatience = 900 * time.Millisecond

// judgeLog checks, when a life is over, that the usage log has what those had used who are gone: no less than was stored, or had
// come when their time was over; and never more than was sent.
func (c *campaign) judgeLog() error {
	all := c.mirror.gone
	hesitant := c.mirror.hesitant || !c.mirror.logging.IsZero() && c.died.Sub(c.mirror.logging) > logPatience
	c.mirror.gone, c.mirror.hesitant, c.mirror.logging = nil, false, time.Time{}
	reader, err := usagelog.OpenReader(c.order.UsageLog)
	if errors.Is(err, fs.ErrNotExist) && len(all) == 0 { // killed before it was made
		return nil
	}
	if err != nil {
		return err
	}
	summary, err := reader.Usage(context.Background(), c.begun, time.Now().Add(time.Hour), nil)
	if err != nil {
		return err
	}
	logged := make(map[usagelog.Subject]quota.Counters)
	for _, u := range summary.Usages {
		logged[u.Subject] = quota.Counters(u.Counters)
	}
	errs := []error{damages(summary.Damage)}
	for _, g := range all {
		low, high := c.boundsOf(g)
		if hesitant {
			low = quota.Counters{}
		}
		if got := logged[g.logged]; !within(low, got, high) {
			errs = append(errs, fmt.Errorf("the usage log has %v of %s %s, number %d, which is gone: want %v to %v", got, g.logged.Kind,
				g.logged.Name, g.logged.Sequence, low, high))
		}
		c.sum.gone++
	}
	return errors.Join(errs...)
}

func damages(all []usagelog.Damage) error {
	if len(all) > 0 {
		return fmt.Errorf("the usage log is damaged: %v", all)
	}
	return nil
}

// everSent is what may have been counted for a subject until now: a log has what a node that was killed has not.
func (c *caller) everSent(s subject) quota.Counters {
	sent := c.sum(s, (*tally).went)
	if c.touched[s] {
		sent = quota.Counters{}
		for _, client := range c.clients {
			sent = plus(sent, client.tally.went())
		}
	}
	return plus(c.sent[s], sent)
}

// boundsOf is what a subject that is gone must have used.
func (c *campaign) boundsOf(g gone) (low, high quota.Counters) {
	low, high = g.stored, g.stored
	for _, k := range c.callers {
		if !k.shard.owns(g.subject.Peer) && !slices.Contains(k.shard.names, g.subject.Account) {
			continue
		}
		high = k.everSent(g.subject)
		end := k.closes[g.subject]
		if _, known := k.base[g.subject]; c.looked && known && !k.touched[g.subject] && !k.extended[g.subject] && isPast(end, c.died) {
			by := k.cameBy(g.subject, end)
			low = quota.Counters{Download: max(low.Download, by.Download), Upload: max(low.Upload, by.Upload)}
		}
	}
	return low, high
}
