package quota_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

func state(t require.TestingT, l *quota.Ledger) string {
	data, err := json.Marshal(l)
	require.NoError(t, err)
	return string(data)
}

func TestStateOfWholeLedger(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Daily, TimeZone: "Europe/Berlin"}}, down(5))
	l.Advance(noon, down(105))
	require.JSONEq(t, `{"version":1,"cap":{"bytes":"1kB","period":{"kind":"daily","time_zone":"Europe/Berlin"}},
		"now":"2026-05-10T12:00:00Z","seen":{"download":105,"upload":0},"used":{"download":100,"upload":0},
		"start":"2026-05-09T22:00:00Z","end":"2026-05-10T22:00:00Z","percent":10}`, state(t, l),
		"a change of the format needs a new version")
}

func TestStateKeepsPendingEvents(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	require.NoError(t, l.TopUp(5, l.Next(), down(900)))
	var restored quota.Ledger
	require.NoError(t, json.Unmarshal([]byte(state(t, l)), &restored))
	require.Equal(t, l.Advance(noon, down(900)), restored.Advance(noon, down(900)))
}

func TestStateSize(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: quota.TiB, Period: quota.Period{Kind: quota.Rolling, Window: 24 * time.Hour}}, down(0))
	now, c := noon, quota.Counters{}
	for range 500 {
		now = now.Add(7 * time.Minute)
		c.Download += 123_456_789_012
		c.Upload += 123_456_789_012
		l.Advance(now, c)
	}
	require.Less(t, len(state(t, l)), 6<<10)
}

func TestStateErrors(t *testing.T) {
	calendar := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	calendar.Advance(noon, down(500))
	rolling := newLedger(t, quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Rolling, Window: time.Hour}}, down(0))
	rolling.Advance(noon, down(500))
	endless := newLedger(t, quota.Cap{Bytes: 1000, AtEnd: quota.Throttle, ThrottleUpload: 9000}, down(0))
	for name, test := range map[string]struct {
		ledger   *quota.Ledger
		old, new string
	}{
		"version":           {calendar, `"version":1`, `"version":2`},
		"no version":        {calendar, `"version":1,`, ``},
		"negative":          {calendar, `"download":500`, `"download":-500`},
		"too large":         {calendar, `"download":500`, `"download":18446744073709551616`},
		"unknown field":     {calendar, `"version":1`, `"version":1,"extras":1`},
		"cap":               {calendar, `"kind":"daily"`, `"kind":"daily","hour":24`},
		"cap's field":       {calendar, `"bytes"`, `"byte"`},
		"zone":              {calendar, `"kind":"daily"`, `"kind":"daily","time_zone":"Nowhere/Else"`},
		"percent":           {calendar, `"percent":50`, `"percent":51`},
		"no percent":        {calendar, `,"percent":50`, ``},
		"extra":             {calendar, `"percent":50`, `"percent":0,"extra":1152921504606846977`},
		"no end":            {calendar, `,"end":"2026-05-11T00:00:00Z"`, ``},
		"end before now":    {calendar, `"end":"2026-05-11T00:00:00Z"`, `"end":"2026-05-10T12:00:00Z"`},
		"start after now":   {calendar, `"start":"2026-05-10T00:00:00Z"`, `"start":"2026-05-10T12:00:01Z"`},
		"long period":       {calendar, `"start":"2026-05-10T00:00:00Z"`, `"start":"2025-05-10T00:00:00Z"`},
		"time":              {calendar, `"now":"2026-05-10T12:00:00Z"`, `"now":"1969-05-10T12:00:00Z"`},
		"window of a day":   {calendar, `"percent":50`, `"percent":50,"window":[{"step":1,"upload":1}]`},
		"event":             {calendar, `"percent":50`, `"percent":50,"pending":[{"kind":"nothing"}]`},
		"event's percent":   {calendar, `"percent":50`, `"percent":50,"pending":[{"kind":"depleted","percent":101}]`},
		"events":            {calendar, `"percent":50`, `"percent":50,"pending":[` + strings.Repeat(`{"kind":"depleted"},`, 256) + `{"kind":"depleted"}]`},
		"cut by throttle":   {endless, `"version":1`, `"version":1,"cut":true`},
		"end of no period":  {endless, `"version":1`, `"version":1,"end":"2027-05-11T00:00:00Z"`},
		"start of a window": {rolling, `"version":1`, `"version":1,"start":"2026-05-10T00:00:00Z"`},
		"sum":               {rolling, `"used":{"download":500`, `"used":{"download":501`},
		"late step":         {rolling, `"step":29640240`, `"step":29640241`},
		"early step":        {rolling, `"step":29640240`, `"step":-9223372036854775808`},
		"empty step":        {rolling, `"window":[`, `"window":[{"step":29640239},`},
		"order":             {rolling, `"window":[{"step":29640240,"download":500}]`, `"window":[{"step":29640240,"download":250},{"step":29640240,"download":250}]`},
		"cut":               {rolling, `"version":1`, `"version":1,"cut":true`},
	} {
		t.Run(name, func(t *testing.T) {
			good := state(t, test.ledger)
			bad := strings.Replace(good, test.old, test.new, 1)
			require.NotEqual(t, good, bad, "nothing to replace in %s", good)
			l := newLedger(t, quota.Cap{Bytes: 7}, down(0))
			before := state(t, l)
			require.ErrorIs(t, json.Unmarshal([]byte(bad), l), quota.ErrState)
			require.Equal(t, before, state(t, l))
			require.NoError(t, json.Unmarshal([]byte(good), l))
		})
	}
	for _, text := range []string{`null`, `[]`, `{}`, `7`, `"x"`} {
		require.ErrorIs(t, new(quota.Ledger).UnmarshalJSON([]byte(text)), quota.ErrState, text)
	}
}

func FuzzLedgerJSON(f *testing.F) {
	for _, p := range []quota.Period{{}, daily, {Kind: quota.Monthly, TimeZone: "Europe/Berlin", Day: 31}, {Kind: quota.Rolling, Window: time.Hour}} {
		l, err := quota.NewLedger(quota.Cap{Bytes: 1000, Period: p}, noon, down(0))
		require.NoError(f, err)
		f.Add([]byte(state(f, l)), int64(0), uint64(0))
		require.NoError(f, l.TopUp(100, noon, down(950)))
		l.Deplete(noon, down(1000), l.Budget())
		f.Add([]byte(state(f, l)), int64(1e9), uint64(1e9))
	}
	f.Fuzz(func(t *testing.T, data []byte, seconds int64, moved uint64) {
		var l quota.Ledger
		if json.Unmarshal(data, &l) != nil {
			return
		}
		text := state(t, &l)
		var again quota.Ledger
		require.NoError(t, json.Unmarshal([]byte(text), &again))
		require.Equal(t, text, state(t, &again))

		// Whatever was read is a ledger that works, and stays one.
		now, c := time.Unix(seconds, 0), quota.Counters{Download: moved, Upload: moved / 2}
		l.Advance(now, c)
		require.Empty(t, l.Advance(now, c))
		budget, usage := l.Budget(), l.Usage(now, c)
		require.Equal(t, usage.Limit != 0, budget.Limited)
		if budget.Mark != 0 && budget.Mark != 1<<64-1 {
			require.Greater(t, budget.Mark, c.Of(budget.Counted))
		}
		_ = l.TopUp(quota.Bytes(moved), now, c)
		l.Deplete(now, c, budget)
		l.Reset(now, c)
		text = state(t, &l)
		require.NoError(t, json.Unmarshal([]byte(text), &again))
	})
}
