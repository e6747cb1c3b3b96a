package quota

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PeriodKind says how a cap's period repeats.
type PeriodKind int

const (
	// None is one period without end: usage begins anew only when it is reset.
	None PeriodKind = iota
	// Daily periods begin every day.
	Daily
	// Weekly periods begin once a week.
	Weekly
	// Monthly periods begin once a month.
	Monthly
	// Rolling is a window of a fixed length that ends now.
	Rolling
)

var periodKindNames = names[PeriodKind]{what: "period", list: []string{"none", "daily", "weekly", "monthly", "rolling"}}

// String is "none", "daily", "weekly", "monthly" or "rolling".
func (k PeriodKind) String() string { return periodKindNames.text(k) }

// MarshalText writes the kind as String does; a value that is none of the constants is an error.
func (k PeriodKind) MarshalText() ([]byte, error) { return periodKindNames.marshal(k) }

// UnmarshalText reads what MarshalText writes.
func (k *PeriodKind) UnmarshalText(text []byte) error { return periodKindNames.unmarshal(k, text) }

// Bounds of [Period].Window.
const (
	MinWindow = time.Minute
	MaxWindow = 366 * 24 * time.Hour
)

// Period is the time that a cap is for. The zero Period has no end. A field that Kind has no use for must be zero. As JSON
// it is an object with the fields' names in snake case, the weekday ("monday") and the window ("24h0m0s") as text.
//
// Calendar periods begin when the clock on the wall of TimeZone first shows the day and the hour. An hour that a change to
// daylight saving time skips begins when the change does; an hour that comes twice begins the first time; a day that a
// zone skipped, to get to the other side of the date line, has no period.
type Period struct {
	Kind PeriodKind
	// TimeZone is the IANA name of the zone of a calendar period, such as "Europe/Berlin"; empty is UTC. "Local" is
	// refused: it is another zone on another machine.
	TimeZone string
	// Weekday is the day on which a Weekly period begins; the zero value is Sunday, as in package time.
	Weekday time.Weekday
	// Day is the day of the month on which a Monthly period begins, 1 to 31; 0 is 1. In a month that is shorter it is the
	// last day.
	Day int
	// Hour is the hour at which a calendar period begins, 0 to 23.
	Hour int
	// Window is the length of a Rolling period: whole minutes from [MinWindow] to [MaxWindow].
	Window time.Duration
}

// Equal reports whether two periods are the same; defaults that are spelled out make no difference.
func (p Period) Equal(q Period) bool { return p.normal() == q.normal() }

// normal spells the defaults out.
func (p Period) normal() Period {
	if p.TimeZone == "" {
		p.TimeZone = "UTC"
	}
	p.Day = max(p.Day, 1)
	return p
}

var weekdayNames = names[time.Weekday]{what: "weekday", list: []string{
	"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
}}

// periodJSON is a Period as it is written.
type periodJSON struct {
	Kind     PeriodKind `json:"kind,omitzero"`
	TimeZone string     `json:"time_zone,omitzero"`
	Weekday  string     `json:"weekday,omitzero"`
	Day      int        `json:"day,omitzero"`
	Hour     int        `json:"hour,omitzero"`
	Window   string     `json:"window,omitzero"`
}

// MarshalJSON writes the period; a kind or a weekday that does not exist is an error.
func (p Period) MarshalJSON() ([]byte, error) {
	v := periodJSON{Kind: p.Kind, TimeZone: p.TimeZone, Day: p.Day, Hour: p.Hour}
	if p.Kind == Weekly || p.Weekday != 0 {
		text, err := weekdayNames.marshal(p.Weekday)
		if err != nil {
			return nil, err
		}
		v.Weekday = string(text)
	}
	if p.Window != 0 {
		v.Window = p.Window.String()
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses unknown fields. On an error p stays as it was.
func (p *Period) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var v periodJSON
	if err := decodeStrict(data, &v); err != nil {
		return fmt.Errorf("quota: read period: %w", err)
	}
	q := Period{Kind: v.Kind, TimeZone: v.TimeZone, Day: v.Day, Hour: v.Hour}
	if v.Weekday != "" {
		if err := weekdayNames.unmarshal(&q.Weekday, []byte(strings.ToLower(v.Weekday))); err != nil {
			return err
		}
	}
	if v.Window != "" {
		window, err := time.ParseDuration(v.Window)
		if err != nil {
			return fmt.Errorf("quota: window %q is not a duration: write it like 24h or 90m", clip(v.Window))
		}
		q.Window = window
	}
	*p = q
	return nil
}

// period checks p's fields, and returns its calendar.
func (p *capProblems) period(v Period) calendar {
	if !periodKindNames.valid(v.Kind) {
		p.add("Period.Kind", int(v.Kind), "is unknown: use None, Daily, Weekly, Monthly or Rolling")
		return calendar{}
	}
	onCalendar := v.Kind == Daily || v.Kind == Weekly || v.Kind == Monthly
	unused := func(field string, value any, isZero, used bool) {
		if !used && !isZero {
			p.add("Period."+field, value, "has no effect on a period of kind %v: leave it zero", v.Kind)
		}
	}
	unused("TimeZone", strconv.Quote(clip(v.TimeZone)), v.TimeZone == "", onCalendar)
	unused("Weekday", int(v.Weekday), v.Weekday == 0, v.Kind == Weekly)
	unused("Day", v.Day, v.Day == 0, v.Kind == Monthly)
	unused("Hour", v.Hour, v.Hour == 0, onCalendar)
	unused("Window", v.Window, v.Window == 0, v.Kind == Rolling)

	if v.Kind == Rolling && (v.Window < MinWindow || v.Window > MaxWindow || v.Window%time.Minute != 0) {
		p.add("Period.Window", v.Window, "is no window: use whole minutes from %v to %v", MinWindow, MaxWindow)
	}
	if v.Kind == Weekly && !weekdayNames.valid(v.Weekday) {
		p.add("Period.Weekday", int(v.Weekday), "is no day of the week: use time.Sunday to time.Saturday")
	}
	if v.Kind == Monthly && (v.Day < 0 || v.Day > 31) {
		p.add("Period.Day", v.Day, "is no day of a month: use 1 to 31, or 0 for the first")
	}
	if onCalendar && (v.Hour < 0 || v.Hour > 23) {
		p.add("Period.Hour", v.Hour, "is no hour of a day: use 0 to 23")
	}
	cal := calendar{Period: v.normal()}
	if onCalendar {
		cal.zone = p.zone(v.TimeZone)
	}
	return cal
}

// zone loads a time zone, or returns nil.
func (p *capProblems) zone(name string) *time.Location {
	quoted := strconv.Quote(clip(name))
	if name == "Local" {
		p.add("Period.TimeZone", quoted, "differs from machine to machine: name the zone, such as Europe/Berlin")
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		p.add("Period.TimeZone", quoted, "is not known here: use a name such as Europe/Berlin or UTC, and see that "+
			"the system has time zone data or the program imports time/tzdata")
		return nil
	}
	return zone
}
