package up

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
)

const (
	day = 24 * time.Hour
	// noUsageLog is the setting for none.
	noUsageLog = "none"
)

// InWords is a duration as a person writes it: in days, hours or minutes where these are whole.
func InWords(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= unit.length && d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		}
	}
	return d.String()
}

// Duration reads a duration as Go has them, or a number of days: "90d".
func Duration(text string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			return time.Duration(n) * day, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: give one as 15m, 24h or 90d", text)
	}
	return d, nil
}

func (r *reader) duration(flag, text string) time.Duration {
	d, err := Duration(text)
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
		r.add("usage-retention", "is %s: give %s to %s", s.UsageRetention, InWords(usagelog.MinRetention), InWords(usagelog.MaxRetention))
	}
	if s.UsageLog == noUsageLog {
		return
	}
	p.usage = &usagelog.Options{Retention: retention}
	known = len(r.problems)
	p.node.UsageLogPeriod = r.duration("usage-log", s.UsageLog)
	if p.node.UsageLogPeriod == 0 && len(r.problems) == known { // to a node that is the default
		r.add("usage-log", "is %s: give a time, or %s for no log", s.UsageLog, noUsageLog)
	}
}

// openUsage opens the usage log, if there is to be one.
func (o Options) openUsage(opts *usagelog.Options) (*usagelog.Log, error) {
	if opts == nil {
		return nil, nil
	}
	log, err := usagelog.Open(state.Usage(o.Settings.State), *opts)
	if err != nil {
		return nil, fmt.Errorf("%w\nTo run without a log of usage, say --usage-log %s", err, noUsageLog)
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
	return fmt.Sprintf("every %s, kept for %s: waylumed usage", InWords(r.plan.node.UsageLogPeriod), InWords(r.plan.usage.Retention))
}

// UsagePeriods are examples of Settings.UsageLog.
func UsagePeriods() []string {
	return []string{"5m", InWords(wgnode.DefaultUsageLogPeriod), "1h", "24h", noUsageLog}
}
