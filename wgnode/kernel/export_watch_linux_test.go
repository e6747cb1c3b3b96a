package kernel

import (
	"context"
	"time"
)

// SetPoll sets how often a dataplane that is not started yet looks at quotas without an event.
func (dp *Dataplane) SetPoll(d time.Duration) { dp.poll = d }

// Deafen ends hearing of events, and looking without them.
func (dp *Dataplane) Deafen() error { return dp.watchers.close() }

// DeafenTables ends hearing of events of tables alone.
func (dp *Dataplane) DeafenTables() error { return dp.watchers.tables.Close() }

// SetHearingRest sets how long a lost event is a problem.
func (dp *Dataplane) SetHearingRest(d time.Duration) { dp.hearing.rest = d }

// LookAtQuotas does what is done without an event.
func (dp *Dataplane) LookAtQuotas(ctx context.Context) error { return dp.lookAtQuotas(ctx) }
