package quota_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
)

func drawPeriod(t *rapid.T) quota.Period {
	return rapid.SampledFrom([]quota.Period{
		{},
		{Kind: quota.Daily},
		{Kind: quota.Daily, TimeZone: "Asia/Kolkata", Hour: 5},
		{Kind: quota.Weekly, TimeZone: "Europe/Berlin", Weekday: time.Sunday, Hour: 12},
		{Kind: quota.Monthly, TimeZone: "America/New_York", Day: 31, Hour: 6},
		{Kind: quota.Rolling, Window: time.Hour},
		{Kind: quota.Rolling, Window: 24 * time.Hour},
	}).Draw(t, "period")
}

func drawCap(t *rapid.T) quota.Cap {
	c := quota.Cap{
		Bytes:   quota.Bytes(rapid.SampledFrom([]int{0, 1, 7, 100, 999, 5000}).Draw(t, "bytes")),
		Counted: rapid.SampledFrom([]quota.Counted{quota.CountBoth, quota.CountDownload, quota.CountUpload}).Draw(t, "counted"),
		Period:  drawPeriod(t),
	}
	if rapid.Bool().Draw(t, "throttle") {
		c.AtEnd, c.ThrottleUpload = quota.Throttle, 1
	}
	if rapid.Bool().Draw(t, "thresholds") {
		c.Thresholds = rapid.SliceOfNDistinct(rapid.IntRange(1, 100), 0, 5, rapid.ID).Draw(t, "percents")
	}
	return c
}

func TestLedgerMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// About the change of clocks in New York and Berlin, since that is where periods differ.
		now := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)
		var c quota.Counters
		limit := drawCap(t)
		l, err := quota.NewLedger(limit, now, c)
		require.NoError(t, err)
		m := &ledgerModel{cap: limit, now: now, log: []entry{{at: now, anew: true}}}

		move := func(t *rapid.T) {
			switch rapid.IntRange(0, 9).Draw(t, "clock") {
			case 0:
				now = now.Add(-time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "back")))
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(1, 45).Draw(t, "days")) * 24 * time.Hour)
			case 2, 3:
				if next := l.Next(); !next.IsZero() {
					now = next
				}
			default:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "forward")))
			}
			if rapid.IntRange(0, 19).Draw(t, "counters") == 0 {
				c = quota.Counters{Download: uint64(rapid.IntRange(0, 50).Draw(t, "download")), Upload: c.Upload / 2}
				return
			}
			c.Download += uint64(rapid.IntRange(0, 400).Draw(t, "download"))
			c.Upload += uint64(rapid.IntRange(0, 40).Draw(t, "upload"))
		}
		seen := func() time.Time { return now.Truncate(time.Microsecond) } // as finely as a ledger tells times apart
		pass := func() { m.pass(seen(), int64(c.Download), int64(c.Upload)) }

		t.Repeat(map[string]func(*rapid.T){
			"advance": func(t *rapid.T) {
				move(t)
				before := state(t, l)
				usage := l.Usage(now, c)
				require.Equal(t, before, state(t, l), "reading usage changes nothing")
				pass()
				require.Equal(t, m.events, told(l.Advance(now, c)))
				m.events = nil
				require.Equal(t, usage, l.Usage(now, c))
				require.Empty(t, l.Advance(now, c), "idempotent")
			},
			"top up": func(t *rapid.T) {
				move(t)
				more := rapid.IntRange(0, 500).Draw(t, "more")
				pass()
				err := l.TopUp(quota.Bytes(more), now, c)
				if m.cap.Bytes == 0 {
					require.ErrorIs(t, err, quota.ErrNoCap)
				} else {
					require.NoError(t, err)
					m.change(func() { m.log = append(m.log, entry{at: m.now, extra: int64(more)}) })
				}
			},
			"reset": func(t *rapid.T) {
				move(t)
				pass()
				l.Reset(now, c)
				m.reset(seen())
			},
			"deplete": func(t *rapid.T) {
				enforced := l.Budget()
				move(t)
				pass()
				l.Deplete(now, c, enforced)
				m.deplete(int64(enforced.Limit))
			},
			"set cap": func(t *rapid.T) {
				move(t)
				next := drawCap(t)
				if rapid.Bool().Draw(t, "same period") {
					next.Period = m.cap.Period
				}
				pass()
				require.NoError(t, l.SetCap(next, now, c))
				m.setCap(next, seen())
			},
			"restart": func(t *rapid.T) {
				text := state(t, l)
				restored := new(quota.Ledger)
				require.NoError(t, json.Unmarshal([]byte(text), restored))
				require.Equal(t, text, state(t, restored))
				l = restored
			},
			"": func(t *rapid.T) { checkLedger(t, m, l, now, c) },
		})
	})
}

// checkLedger compares all that can be read; the model has been told the same as the ledger.
func checkLedger(t *rapid.T, m *ledgerModel, l *quota.Ledger, now time.Time, c quota.Counters) {
	used, extra := m.sums()
	u, b := l.Usage(now, c), l.Budget()
	require.EqualValues(t, used, u.Used)
	if m.onCalendar() {
		require.Equal(t, m.floor(m.now), u.PeriodStart)
		require.Equal(t, u.PeriodEnd, m.floor(u.PeriodEnd))
		require.Equal(t, u.PeriodStart, m.floor(u.PeriodEnd.Add(-1)))
		require.Equal(t, u.PeriodEnd, l.Next())
	}
	if m.cap.Bytes == 0 {
		require.Equal(t, quota.Budget{}, b)
		require.Zero(t, u.Limit)
		return
	}
	limit := int64(m.cap.Bytes) + extra
	require.EqualValues(t, limit, u.Limit)
	require.Equal(t, m.cut || used >= limit, u.Depleted)
	want := max(m.limitAt(), 0)
	if m.cut {
		want = min(want, m.counter())
	}
	require.True(t, b.Limited)
	require.EqualValues(t, want, b.Limit)
	require.Equal(t, m.cap.AtEnd, b.AtEnd)
	require.Equal(t, m.cap.Counted, b.Counted)
	next := 100
	for _, p := range l.Cap().Thresholds {
		if p > m.told {
			next = min(next, p)
		}
	}
	if l.Cap().Thresholds == nil && m.told < 80 {
		next = 80
	}
	if next == 100 {
		require.Zero(t, b.Mark)
		return
	}
	// One byte less would be below the threshold.
	at := int64(b.Mark) - m.counter() + used
	require.GreaterOrEqual(t, at*100, limit*int64(next))
	require.Less(t, (at-1)*100, limit*int64(next))
	require.Greater(t, b.Mark, uint64(m.counter()))
	require.LessOrEqual(t, b.Mark, b.Limit)
}
