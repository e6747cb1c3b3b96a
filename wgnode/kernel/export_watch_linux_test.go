package kernel

import "time"

// SetPoll sets how often a dataplane that is not started yet looks at quotas without an event.
func (dp *Dataplane) SetPoll(d time.Duration) { dp.poll = d }
