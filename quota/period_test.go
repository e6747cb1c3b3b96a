package quota_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones below must be known wherever the tests run

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
)

func instant(t require.TestingT, text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return at.UTC()
}

// open returns a ledger with a period and no cap.
func open(t require.TestingT, p quota.Period, now time.Time) *quota.Ledger {
	l, err := quota.NewLedger(quota.Cap{Period: p}, now, quota.Counters{})
	require.NoError(t, err)
	return l
}

func TestPeriodBoundaries(t *testing.T) {
	daily := func(zone string, hour int) quota.Period {
		return quota.Period{Kind: quota.Daily, TimeZone: zone, Hour: hour}
	}
	monthly := func(zone string, day, hour int) quota.Period {
		return quota.Period{Kind: quota.Monthly, TimeZone: zone, Day: day, Hour: hour}
	}
	for name, test := range map[string]struct {
		period quota.Period
		// at begins the walk; boundaries are the period's start and the ends that follow.
		at         string
		boundaries []string
	}{
		"UTC": {daily("", 0), "2026-01-01T12:00:00Z",
			[]string{"2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"}},
		"just before": {daily("", 6), "2026-01-01T05:59:59Z",
			[]string{"2025-12-31T06:00:00Z", "2026-01-01T06:00:00Z"}},
		"just at": {daily("", 6), "2026-01-01T06:00:00Z",
			[]string{"2026-01-01T06:00:00Z", "2026-01-02T06:00:00Z"}},
		"Kolkata is 5:30 ahead": {daily("Asia/Kolkata", 0), "2026-01-01T18:29:59Z",
			[]string{"2025-12-31T18:30:00Z", "2026-01-01T18:30:00Z", "2026-01-02T18:30:00Z"}},
		"Berlin, 23 hours": {daily("Europe/Berlin", 0), "2026-03-28T12:00:00Z",
			[]string{"2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"}},
		"Berlin, 25 hours": {daily("Europe/Berlin", 0), "2026-10-24T12:00:00Z",
			[]string{"2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"}},
		"Berlin, 2 o'clock that does not exist": {daily("Europe/Berlin", 2), "2026-03-28T12:00:00Z",
			[]string{"2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		"Berlin, 2 o'clock that comes twice": {daily("Europe/Berlin", 2), "2026-10-24T12:00:00Z",
			[]string{"2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"}},
		"Berlin, between the two": {daily("Europe/Berlin", 2), "2026-10-25T01:30:00Z",
			[]string{"2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"}},
		"New York, 2 o'clock that does not exist": {daily("America/New_York", 2), "2026-03-07T12:00:00Z",
			[]string{"2026-03-07T07:00:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"}},
		"New York, 1 o'clock that comes twice": {daily("America/New_York", 1), "2026-10-31T12:00:00Z",
			[]string{"2026-10-31T05:00:00Z", "2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"}},
		"Apia skips 30 December 2011": {daily("Pacific/Apia", 0), "2011-12-28T12:00:00Z",
			[]string{"2011-12-28T10:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"}},
		"Apia, a month that begins on the day it skips": {monthly("Pacific/Apia", 30, 0), "2011-12-01T00:00:00Z",
			[]string{"2011-11-30T10:00:00Z", "2011-12-30T10:00:00Z", "2012-01-29T10:00:00Z"}},
		"Havana, midnight that does not exist": {daily("America/Havana", 0), "2026-03-07T12:00:00Z",
			[]string{"2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"}},
		"Berlin, the last day of a leap year far ahead": {daily("Europe/Berlin", 18), "2040-12-31T12:00:00Z",
			[]string{"2040-12-30T17:00:00Z", "2040-12-31T17:00:00Z", "2041-01-01T17:00:00Z"}},
		"Chatham, the new year after one": {daily("Pacific/Chatham", 0), "2040-12-31T12:00:00Z",
			[]string{"2040-12-31T10:15:00Z", "2041-01-01T10:15:00Z", "2041-01-02T10:15:00Z"}},
		"week": {quota.Period{Kind: quota.Weekly, TimeZone: "Europe/Berlin", Weekday: time.Monday, Hour: 6}, "2026-03-30T03:59:59Z",
			[]string{"2026-03-23T05:00:00Z", "2026-03-30T04:00:00Z", "2026-04-06T04:00:00Z"}},
		"week from Sunday": {quota.Period{Kind: quota.Weekly}, "2026-01-01T00:00:00Z",
			[]string{"2025-12-28T00:00:00Z", "2026-01-04T00:00:00Z"}},
		"week in 1970": {quota.Period{Kind: quota.Weekly, Weekday: time.Thursday}, "1970-01-01T00:00:00Z",
			[]string{"1970-01-01T00:00:00Z", "1970-01-08T00:00:00Z"}},
		"month": {monthly("", 0, 0), "2026-12-15T00:00:00Z",
			[]string{"2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"}},
		"31st": {monthly("", 31, 0), "2026-01-31T00:00:00Z",
			[]string{"2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z"}},
		"30th in a leap year": {monthly("", 30, 12), "2028-02-29T11:59:59Z",
			[]string{"2028-01-30T12:00:00Z", "2028-02-29T12:00:00Z", "2028-03-30T12:00:00Z"}},
		"29th in 2100, no leap year": {monthly("", 29, 0), "2100-02-01T00:00:00Z",
			[]string{"2100-01-29T00:00:00Z", "2100-02-28T00:00:00Z", "2100-03-29T00:00:00Z"}},
		"31st across the change of clocks": {monthly("Europe/Berlin", 31, 0), "2026-03-15T00:00:00Z",
			[]string{"2026-02-27T23:00:00Z", "2026-03-30T22:00:00Z", "2026-04-29T22:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, test.period, instant(t, test.at))
			require.Equal(t, instant(t, test.boundaries[0]), l.Usage(instant(t, test.at), quota.Counters{}).PeriodStart)
			for _, want := range test.boundaries[1:] {
				end := l.Next()
				require.Equal(t, instant(t, want), end)
				require.Empty(t, l.Advance(end.Add(-1), quota.Counters{}))
				events := l.Advance(end, quota.Counters{})
				require.Len(t, events, 1)
				require.Equal(t, quota.PeriodStarted, events[0].Kind)
				require.Equal(t, end, events[0].Usage.PeriodStart)
				require.Equal(t, end, events[0].Ended.PeriodEnd)
			}
		})
	}
}

// civil is what the clock on the wall shows, as if it were UTC.
func civil(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// TestPeriodProperty holds boundaries to their definition: consecutive, increasing, and each the first instant at which
// the clock on the wall shows the anchor, or later, which it had not a second before.
func TestPeriodProperty(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kolkata", "America/Havana",
		"Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns", "Pacific/Kwajalein", "Asia/Tehran", "Pacific/Chatham"}
	rapid.Check(t, func(t *rapid.T) {
		p := quota.Period{
			Kind:     rapid.SampledFrom([]quota.PeriodKind{quota.Daily, quota.Weekly, quota.Monthly}).Draw(t, "kind"),
			TimeZone: rapid.SampledFrom(zones).Draw(t, "zone"),
			Hour:     rapid.IntRange(0, 23).Draw(t, "hour"),
		}
		switch p.Kind {
		case quota.Weekly:
			p.Weekday = time.Weekday(rapid.IntRange(0, 6).Draw(t, "weekday"))
		case quota.Monthly:
			p.Day = rapid.IntRange(1, 31).Draw(t, "day")
		}
		zone, err := time.LoadLocation(p.TimeZone)
		require.NoError(t, err)
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0).UTC()
		l := open(t, p, now)
		u := l.Usage(now, quota.Counters{})
		require.False(t, u.PeriodStart.After(now))
		require.True(t, u.PeriodEnd.After(now))

		for range 40 {
			start, end := u.PeriodStart, l.Next()
			require.True(t, end.After(start))
			shown, before := civil(end, zone), civil(end.Add(-time.Second), zone)
			anchor := lastAnchor(p, shown)
			require.False(t, anchor.After(shown))
			if shown.Sub(before) >= time.Second { // no clock went back just then
				require.True(t, before.Before(anchor), "%v is not the first to show %v", end, anchor)
			}
			events := l.Advance(end, quota.Counters{})
			require.Len(t, events, 1)
			u = events[0].Usage
			require.Equal(t, end, u.PeriodStart, "consecutive")
			require.LessOrEqual(t, events[0].Periods, 2)
			require.GreaterOrEqual(t, events[0].Periods, 1)
		}
	})
}

// lastAnchor is the last time of a wall clock at or before shown at which a period is to begin.
func lastAnchor(p quota.Period, shown time.Time) time.Time {
	for day := shown; ; day = day.AddDate(0, 0, -1) {
		at := time.Date(day.Year(), day.Month(), day.Day(), p.Hour, 0, 0, 0, time.UTC)
		if at.After(shown) {
			continue
		}
		last := time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
		if p.Kind == quota.Daily || p.Kind == quota.Weekly && at.Weekday() == p.Weekday ||
			p.Kind == quota.Monthly && at.Day() == min(p.Day, last) {
			return at
		}
	}
}

func TestPeriodsPassed(t *testing.T) {
	for name, test := range map[string]struct {
		period   quota.Period
		from, to string
		want     int
	}{
		"day":               {quota.Period{Kind: quota.Daily}, "2026-01-01T10:00:00Z", "2026-01-02T00:00:00Z", 1},
		"days":              {quota.Period{Kind: quota.Daily, TimeZone: "Europe/Berlin"}, "2026-03-01T00:00:00Z", "2026-11-01T00:00:00Z", 245},
		"weeks":             {quota.Period{Kind: quota.Weekly}, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 52},
		"months":            {quota.Period{Kind: quota.Monthly, Day: 31}, "2026-01-30T00:00:00Z", "2026-06-30T00:00:00Z", 6},
		"the day Apia lost": {quota.Period{Kind: quota.Daily, TimeZone: "Pacific/Apia"}, "2011-12-29T12:00:00Z", "2011-12-30T12:00:00Z", 2},
		"centuries":         {quota.Period{Kind: quota.Daily}, "2026-01-01T00:00:00Z", "2826-01-01T00:00:00Z", 292194},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, test.period, instant(t, test.from))
			events := l.Advance(instant(t, test.to), quota.Counters{})
			require.Len(t, events, 1)
			require.Equal(t, test.want, events[0].Periods)
			require.Empty(t, l.Advance(instant(t, test.to), quota.Counters{}))
		})
	}
}
