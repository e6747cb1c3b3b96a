package up

import (
	"fmt"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
)

func (r *reader) duration(flag, text string) time.Duration {
	d, err := words.Duration(text)
	if err != nil {
		r.add(flag, "%v", err)
	}
	return d
}

func (s Settings) readUsage(r *reader, p *plan) {
	known := len(r.problems)
	retention := r.duration("usage-retention", s.UsageRetention)
	if len(r.problems) > known {
		retention = usagelog.DefaultRetention
	}
	if retention < usagelog.MinRetention || retention > usagelog.MaxRetention {
		r.add("usage-retention", "is %s: give %s to %s", s.UsageRetention, words.InWords(usagelog.MinRetention), words.InWords(usagelog.MaxRetention))
	}
	if s.UsageLog == words.None {
		return
	}
	p.usage = &usagelog.Options{Retention: retention}
	known = len(r.problems)
	p.node.UsageLogPeriod = r.duration("usage-log", s.UsageLog)
	if p.node.UsageLogPeriod == 0 && len(r.problems) == known { // to a node that is the default
		r.add("usage-log", "is %s: give a time, or %s for no log", s.UsageLog, words.None)
	}
}

// openUsage opens the usage log, if there is to be one.
func (o Options) openUsage(opts *usagelog.Options) (*usagelog.Log, error) {
	if opts == nil {
		return nil, nil
	}
	log, err := usagelog.Open(state.Usage(o.Settings.State), *opts)
	if err != nil {
		return nil, fmt.Errorf("%w\nTo run without a log of usage, say --usage-log %s", err, words.None)
	}
	for _, d := range log.Damage() {
		fmt.Fprintf(o.Out, "The usage log is damaged, and goes on: %v\n", d)
	}
	return log, nil
}

func closeUsage(log *usagelog.Log) error {
	if log == nil {
		return nil
	}
	return log.Close()
}

// usageText says what is logged.
func (r *runner) usageText() string {
	if r.plan.usage == nil {
		return "none"
	}
	return fmt.Sprintf("every %s, kept for %s: waylumed usage", words.InWords(r.plan.node.UsageLogPeriod), words.InWords(r.plan.usage.Retention))
}

// UsagePeriods are examples of Settings.UsageLog.
func UsagePeriods() []string {
	return []string{"5m", words.InWords(wgnode.DefaultUsageLogPeriod), "1h", "24h", words.None}
}
