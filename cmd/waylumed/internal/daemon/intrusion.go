package daemon

import (
	"context"
	"strconv"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// intrusions are signals of sources that keep failing to show who they are, on their way to the log of changes. They come ever more
// rarely for each source, and whoever signals does not wait: those for which there is no room are in the log of the program alone.
type intrusions chan auth.Intrusion

const maxIntrusions = 64

func (c intrusions) signal(i auth.Intrusion) {
	select {
	case c <- i:
	default:
	}
}

// record writes signals to the log of changes until the work ends.
func (d *daemon) recordIntrusions(work context.Context) {
	for {
		select {
		case <-work.Done():
			return
		case i := <-d.api.intrusions:
			err := d.api.audit.Record(work, audit.Entry{
				Operation: "intrusion", Source: d.from(i.Source), Result: audit.Result{Outcome: audit.Refused},
				Details: map[string]string{
					"failures": strconv.Itoa(i.Failures), "since": i.Since.UTC().Format(time.RFC3339), "reason": string(i.Reason),
				},
			})
			if err != nil {
				d.log.Error("a signal of an intrusion is not in the log of changes", "error", err)
			}
		}
	}
}
