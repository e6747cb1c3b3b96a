package quota_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
)

// TestLedgerAndMeter runs a ledger and a meter as a program does, with a peer that sends whatever it can, and holds them to
// what a cap promises: no calendar period and no rolling window sees more than the cap, also when the program looks late,
// restarts, or looks only when the meter calls.
func TestLedgerAndMeter(t *testing.T) {
	const limit = 100_000
	rapid.Check(t, func(t *rapid.T) {
		period := rapid.SampledFrom([]quota.Period{
			{},
			{Kind: quota.Daily, Hour: 3},
			{Kind: quota.Rolling, Window: time.Hour},
			{Kind: quota.Rolling, Window: 24 * time.Hour},
		}).Draw(t, "period")
		counted := rapid.SampledFrom([]quota.Counted{quota.CountBoth, quota.CountDownload}).Draw(t, "counted")
		now := noon
		l, err := quota.NewLedger(quota.Cap{Bytes: limit, Counted: counted, Period: period}, now, quota.Counters{})
		require.NoError(t, err)

		var m *quota.Meter
		called := false
		notify := func(quota.Crossing) { called = true }
		m = quota.NewMeter(quota.Counters{}, l.Budget(), notify)
		ended := 0
		look := func() {
			c := m.Counters()
			if m.Blocked() {
				l.Deplete(now, c, l.Budget())
			}
			for _, e := range l.Advance(now, c) {
				if e.Kind == quota.PeriodStarted {
					ended++
					require.LessOrEqual(t, e.Ended.Used, quota.Bytes(limit))
				}
			}
			m.SetBudget(l.Budget())
			require.Equal(t, m.Depleted(), l.Usage(now, c).Depleted, "ledger and meter agree")
			called = false
		}

		type packet struct {
			at time.Time
			n  int
		}
		var passed []packet
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				look()
			case 1:
				data, err := json.Marshal(l)
				require.NoError(t, err)
				l = new(quota.Ledger)
				require.NoError(t, json.Unmarshal(data, l))
				m = quota.NewMeter(m.Counters(), l.Budget(), notify)
			case 2:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(5*time.Hour)).Draw(t, "hours")))
			case 3, 4:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(t, "minutes")))
			default:
				n := rapid.IntRange(1, 30_000).Draw(t, "n")
				if m.Take(quota.Download, n) == quota.Pass {
					passed = append(passed, packet{now, n})
				}
				require.LessOrEqual(t, m.Counters().Of(counted), l.Budget().Limit)
				if called && rapid.Bool().Draw(t, "prompt") {
					look()
				}
			}
		}
		total := 0
		for i := range passed {
			total += passed[i].n
			window := 0
			for j := i; j >= 0 && passed[j].at.After(passed[i].at.Add(-period.Window)); j-- {
				window += passed[j].n
			}
			require.LessOrEqual(t, window, limit)
		}
		require.EqualValues(t, total, m.Counters().Download)
		if period.Kind != quota.Rolling {
			require.LessOrEqual(t, total, limit*(ended+1))
		}
	})
}

// TestRollingComesFree holds a rolling window to the other side of its promise: what was used is free again after W + W/30
// at the latest, if Advance is called when Next asks.
func TestRollingComesFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.SampledFrom([]int{1, 7, 60, 1440, 43200}).Draw(t, "minutes")) * time.Minute
		start := noon.Add(time.Duration(rapid.Int64Range(0, int64(window)).Draw(t, "offset")))
		l, err := quota.NewLedger(quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Rolling, Window: window}}, start, quota.Counters{})
		require.NoError(t, err)
		passedAt := start.Add(time.Duration(rapid.Int64Range(0, int64(window)).Draw(t, "passed")))
		free := passedAt.Add(window + window/30)
		now, c := start, quota.Counters{}
		for next := l.Next(); !next.After(free); next = l.Next() {
			require.True(t, next.After(now))
			require.LessOrEqual(t, next.Sub(now), window/60)
			now = next
			if !now.Before(passedAt) {
				c.Upload = 1000
			}
			l.Advance(now, c)
			if c.Upload != 0 && now.Before(passedAt.Add(window)) {
				require.True(t, l.Usage(now, c).Depleted, "never before a whole window has gone by")
			}
		}
		require.Zero(t, l.Usage(free, c).Used)
	})
}
