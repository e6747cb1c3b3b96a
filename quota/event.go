package quota

import (
	"fmt"
	"time"
)

// Usage is what a subject used of its cap.
type Usage struct {
	// Used in the period that runs, in the directions that count. It may be more than Limit with [Throttle], or when the
	// limit was lowered.
	Used Bytes `json:"used"`
	// Limit is the cap with what was topped up; 0 when there is no cap.
	Limit Bytes `json:"limit,omitzero"`
	// Remaining is what may still be used; 0 when there is no cap, and when [Block] cut the subject off because a packet
	// was larger than what was left.
	Remaining Bytes `json:"remaining,omitzero"`
	// Depleted reports that nothing remains of a cap.
	Depleted bool `json:"depleted,omitzero"`
	// PeriodStart is when the period began by the calendar, also if the cap was set later; for [Rolling] the beginning of
	// the window, for [None] when counting began.
	PeriodStart time.Time `json:"period_start,omitzero"`
	// PeriodEnd is when the next period begins; zero for None and Rolling.
	PeriodEnd time.Time `json:"period_end,omitzero"`
}

// String is the usage in words, such as "1GiB of 5GiB".
func (u Usage) String() string {
	switch {
	case u.Limit == 0:
		return u.Used.String()
	case u.Depleted:
		return fmt.Sprintf("%v of %v, used up", u.Used, u.Limit)
	default:
		return fmt.Sprintf("%v of %v", u.Used, u.Limit)
	}
}

// EventKind says what an [Event] reports.
type EventKind int

const (
	// ThresholdReached: usage came to a threshold of the cap, Percent.
	ThresholdReached EventKind = iota + 1
	// Depleted: the cap is used up. It comes after the thresholds that the same bytes reached, 100 among them.
	Depleted
	// PeriodStarted: one or more periods ended, Periods in number, and another began. Ended is the usage of the one that
	// ran until then.
	PeriodStarted
)

var eventKindNames = names[EventKind]{
	what: "event", list: []string{"", "threshold-reached", "depleted", "period-started"},
}

// String is "threshold-reached", "depleted" or "period-started".
func (k EventKind) String() string { return eventKindNames.text(k) }

// MarshalText writes the kind as String does; a value that is none of the constants is an error.
func (k EventKind) MarshalText() ([]byte, error) { return eventKindNames.marshal(k) }

// UnmarshalText reads what MarshalText writes.
func (k *EventKind) UnmarshalText(text []byte) error { return eventKindNames.unmarshal(k, text) }

// Event is something that a [Ledger] found to have happened.
type Event struct {
	Kind EventKind `json:"kind"`
	// Time is that of the call that found it.
	Time time.Time `json:"time"`
	// Percent is the threshold, for ThresholdReached.
	Percent int `json:"percent,omitzero"`
	// Usage is what was used then; for PeriodStarted, of the new period.
	Usage Usage `json:"usage"`
	// Periods is how many periods of the calendar went by, for PeriodStarted: 1, or more if nobody looked for longer than
	// one. A day that a time zone skipped at the date line counts as one.
	Periods int `json:"periods,omitzero"`
	// Ended is the usage of the period that ended, for PeriodStarted.
	Ended Usage `json:"ended,omitzero"`
}

// String is the event in words for a log.
func (e Event) String() string {
	switch e.Kind {
	case ThresholdReached:
		return fmt.Sprintf("%d%% reached: %v", e.Percent, e.Usage)
	case Depleted:
		return fmt.Sprintf("depleted: %v", e.Usage)
	case PeriodStarted:
		return fmt.Sprintf("period started after %d: %v before", e.Periods, e.Ended)
	default:
		return e.Kind.String()
	}
}
