package quota_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

var (
	noon  = time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)
	daily = quota.Period{Kind: quota.Daily}
)

func down(n uint64) quota.Counters { return quota.Counters{Download: n} }

func newLedger(t *testing.T, c quota.Cap, start quota.Counters) *quota.Ledger {
	t.Helper()
	l, err := quota.NewLedger(c, noon, start)
	require.NoError(t, err)
	return l
}

// told are the events in short: percent, 0 for depleted, -1 for each period passed.
func told(events []quota.Event) []int {
	var short []int
	for _, e := range events {
		switch e.Kind {
		case quota.ThresholdReached:
			short = append(short, e.Percent)
		case quota.Depleted:
			short = append(short, 0)
		case quota.PeriodStarted:
			short = append(short, -e.Periods)
		}
	}
	return short
}

func TestLedgerNoCap(t *testing.T) {
	l := newLedger(t, quota.Cap{}, down(500))
	require.Equal(t, quota.Budget{}, l.Budget())
	require.Zero(t, l.Next())
	require.Empty(t, l.Advance(noon.AddDate(9, 0, 0), down(1e12)))
	require.Equal(t, quota.Usage{Used: 1e12 - 500, PeriodStart: noon}, l.Usage(noon, down(1e12)))
	require.ErrorIs(t, l.TopUp(1, noon, down(1e12)), quota.ErrNoCap)

	require.NoError(t, l.SetCap(quota.Cap{Bytes: 100}, noon, down(1e12)))
	require.Equal(t, quota.Bytes(0), l.Usage(noon, down(1e12)).Used, "what passed before there was a cap does not count")
	require.Equal(t, quota.Budget{Limited: true, Limit: 1e12 + 100, Mark: 1e12 + 80}, l.Budget())
}

func TestLedgerThresholds(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1001, Thresholds: []int{100, 50, 33}}, down(7))
	require.Equal(t, quota.Budget{Limited: true, Limit: 1008, Mark: 7 + 331}, l.Budget(), "33 % of 1001 is 330.33")
	require.Empty(t, l.Advance(noon, down(7+330)))
	events := l.Advance(noon, down(7+331))
	require.Equal(t, []quota.Event{{Kind: quota.ThresholdReached, Time: noon, Percent: 33,
		Usage: quota.Usage{Used: 331, Limit: 1001, Remaining: 670, PeriodStart: noon}}}, events)
	require.Empty(t, l.Advance(noon, down(7+331)), "once")
	require.Equal(t, uint64(7+501), l.Budget().Mark)
	require.Equal(t, []int{50, 100, 0}, told(l.Advance(noon, down(1008))))
	require.Zero(t, l.Budget().Mark)
	require.Equal(t, quota.Usage{Used: 1001, Limit: 1001, Depleted: true, PeriodStart: noon}, l.Usage(noon, down(1008)))

	l = newLedger(t, quota.Cap{Bytes: 1000, Thresholds: []int{}}, down(0))
	require.Zero(t, l.Budget().Mark)
	require.Equal(t, []int{0}, told(l.Advance(noon, down(1000))))
	l = newLedger(t, quota.Cap{Bytes: 1000}, down(0))
	require.Equal(t, uint64(800), l.Budget().Mark)
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(noon, down(1000))))
}

func TestLedgerRollsOver(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	midnight := noon.Add(12 * time.Hour)
	require.Equal(t, midnight, l.Next())
	require.NoError(t, l.TopUp(200, noon, down(0)))

	events := l.Advance(midnight.Add(3*24*time.Hour), down(1100))
	require.Equal(t, []int{80, -4}, told(events), "what passed belongs to the period that ran")
	require.Equal(t, quota.Usage{Used: 1100, Limit: 1200, Remaining: 100, PeriodStart: noon.Add(-12 * time.Hour), PeriodEnd: midnight}, events[1].Ended)
	require.Equal(t, quota.Usage{Limit: 1000, Remaining: 1000, PeriodStart: midnight.AddDate(0, 0, 3), PeriodEnd: midnight.AddDate(0, 0, 4)}, events[1].Usage)
	require.Equal(t, quota.Budget{Limited: true, Limit: 2100, Mark: 1900}, l.Budget(), "top-ups end with their period")
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(midnight.AddDate(0, 0, 3), down(2100))), "told again in the new period")
}

func TestLedgerClockGoesBack(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	midnight := l.Next()
	require.Equal(t, []int{-1}, told(l.Advance(midnight, down(600))))
	require.Empty(t, l.Advance(noon, down(700)))
	require.Empty(t, l.Advance(midnight, down(700)), "the period is not started twice")
	require.Equal(t, quota.Bytes(100), l.Usage(noon, down(700)).Used)

	// A machine that was in the wrong year, and is mended by hand.
	require.Equal(t, []int{-31}, told(l.Advance(midnight.AddDate(0, 0, 31), down(900))))
	require.NoError(t, l.TopUp(50, noon, down(1000)))
	require.Equal(t, midnight.AddDate(0, 0, 32), l.Next())
	l.Reset(noon, down(1000))
	require.Equal(t, midnight, l.Next())
	require.Equal(t, quota.Bytes(1050), l.Usage(noon, down(1000)).Remaining)
}

func TestLedgerCountersGoBack(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000}, quota.Counters{Download: 5000, Upload: 100})
	l.Advance(noon, quota.Counters{Download: 5400, Upload: 200})
	l.Advance(noon, quota.Counters{Download: 30, Upload: 250})
	require.Equal(t, quota.Bytes(550), l.Usage(noon, quota.Counters{Download: 30, Upload: 250}).Used, "each direction apart")
	require.Equal(t, uint64(30+250+450), l.Budget().Limit)
	l.Advance(noon, quota.Counters{Download: 480, Upload: 250})
	require.True(t, l.Usage(noon, quota.Counters{Download: 480, Upload: 250}).Depleted)

	// A throttled subject far beyond its cap, whose counters are flushed: the limit would be below 0.
	l = newLedger(t, quota.Cap{Bytes: 10, AtEnd: quota.Throttle, ThrottleUpload: 8000}, down(0))
	l.Advance(noon, down(1000))
	l.Advance(noon, down(0))
	require.Equal(t, quota.Budget{Limited: true, AtEnd: quota.Throttle}, l.Budget())
}

func TestLedgerSaturates(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: quota.MaxBytes}, down(math.MaxUint64-5))
	require.Equal(t, uint64(math.MaxUint64), l.Budget().Limit)
	require.Equal(t, uint64(math.MaxUint64), l.Budget().Mark)
	all := quota.Counters{Download: math.MaxUint64, Upload: math.MaxUint64}
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(noon, all)))
	require.True(t, l.Usage(noon, all).Depleted)
	l.Reset(noon, all)
	require.Equal(t, uint64(math.MaxUint64), l.Budget().Limit)
}

func TestLedgerSetCap(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	c := quota.Counters{Download: 400, Upload: 500}
	require.Equal(t, []int{80}, told(l.Advance(noon, c)))

	require.NoError(t, l.SetCap(quota.Cap{Bytes: 2000, Period: daily}, noon, c))
	require.Empty(t, l.Advance(noon, c))
	require.Equal(t, uint64(1600), l.Budget().Mark, "a threshold taken back will be told again")
	require.NoError(t, l.SetCap(quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Daily, TimeZone: "UTC"}}, noon, c))
	require.Equal(t, []int{80}, told(l.Advance(noon, c)))
	require.NoError(t, l.SetCap(quota.Cap{Bytes: 1000, Period: daily, Counted: quota.CountUpload}, noon, c))
	require.Equal(t, quota.Bytes(500), l.Usage(noon, c).Used)
	require.Equal(t, uint64(1000), l.Budget().Limit)
	require.NoError(t, l.SetCap(quota.Cap{Bytes: 300, Period: daily}, noon, c))
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(noon, c)))
	require.Equal(t, uint64(300), l.Budget().Limit, "below the counter")

	monthly := quota.Cap{Bytes: 300, Period: quota.Period{Kind: quota.Monthly}}
	require.NoError(t, l.SetCap(monthly, noon, c))
	require.Empty(t, l.Advance(noon, c))
	require.Equal(t, quota.Bytes(300), l.Usage(noon, c).Remaining, "another period begins anew")
	require.True(t, l.Cap().Equal(monthly))

	before := l.Budget()
	require.ErrorIs(t, l.SetCap(quota.Cap{Counted: 9}, noon, c), quota.ErrCap)
	require.Equal(t, before, l.Budget())

	require.NoError(t, l.SetCap(quota.Cap{Period: monthly.Period}, noon, down(900)))
	require.Equal(t, quota.Budget{}, l.Budget())
}

func TestLedgerTopUpAndReset(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000}, down(0))
	l.Advance(noon, down(1000))
	require.NoError(t, l.TopUp(1000, noon, down(1000)))
	require.Empty(t, l.Advance(noon, down(1000)))
	require.Equal(t, quota.Budget{Limited: true, Limit: 2000, Mark: 1600}, l.Budget())
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(noon, down(2000))))
	l.Reset(noon, down(2000))
	require.Equal(t, quota.Budget{Limited: true, Limit: 4000, Mark: 3600}, l.Budget(), "what was topped up stays")

	require.ErrorIs(t, l.TopUp(quota.MaxBytes, noon, down(2000)), quota.ErrBytesRange)
	require.ErrorIs(t, l.TopUp(math.MaxUint64, noon, down(2000)), quota.ErrBytesRange)
	require.Equal(t, uint64(4000), l.Budget().Limit)
	require.NoError(t, l.TopUp(quota.MaxBytes-2000, noon, down(2000)))
	require.Equal(t, quota.MaxBytes, l.Usage(noon, down(2000)).Limit)
	require.NoError(t, l.SetCap(quota.Cap{Bytes: 5000}, noon, down(2000)))
	require.Equal(t, quota.MaxBytes, l.Usage(noon, down(2000)).Limit, "a cap raised after a top-up")
	require.ErrorIs(t, l.TopUp(1, noon, down(2000)), quota.ErrBytesRange)
}

func TestLedgerKeepsEventsForAdvance(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	require.NoError(t, l.TopUp(0, noon, down(850)))
	require.NoError(t, l.TopUp(0, l.Next(), down(850)))
	require.NoError(t, l.TopUp(0, l.Next(), down(1850)))
	require.Equal(t, []int{-2}, told(l.Advance(noon, down(1850))), "periods that nobody asked about become one event")

	for range 1000 {
		require.NoError(t, l.SetCap(quota.Cap{Bytes: 1, Period: daily}, noon, down(1900)))
		require.NoError(t, l.SetCap(quota.Cap{Bytes: 1000, Period: daily}, noon, down(1900)))
	}
	require.LessOrEqual(t, len(l.Advance(noon, down(1900))), 256, "who never asks must not make a ledger grow")
}

func TestLedgerDeplete(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: daily}, down(0))
	enforced := l.Budget()
	l.Deplete(noon, down(990), enforced)
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(noon, down(990))))
	u := l.Usage(noon, down(990))
	require.True(t, u.Depleted)
	require.Zero(t, u.Remaining)
	require.Equal(t, quota.Bytes(990), u.Used)
	require.Equal(t, quota.Budget{Limited: true, Limit: 990}, l.Budget(), "so that a new executor is cut off too")

	require.NoError(t, l.SetCap(quota.Cap{Bytes: 995, Period: daily}, noon, down(990)))
	require.True(t, l.Usage(noon, down(990)).Depleted)
	require.NoError(t, l.SetCap(quota.Cap{Bytes: 996, Period: daily}, noon, down(990)))
	require.False(t, l.Usage(noon, down(990)).Depleted)
	l.Advance(noon, down(990))
	l.Deplete(noon, down(990), enforced)
	require.Equal(t, []int{100, 0}, told(l.Advance(noon, down(990))))
	l.Advance(l.Next(), down(990))
	require.False(t, l.Usage(l.Next(), down(990)).Depleted, "a new period has room")
	l.Deplete(noon, down(990), enforced)
	require.Empty(t, l.Advance(noon, down(990)), "news of a budget that is no more")

	l.Deplete(noon, down(990), quota.Budget{})
	l.Deplete(noon, down(990), quota.Budget{Limited: true, Limit: math.MaxUint64, AtEnd: quota.Throttle})
	require.Empty(t, l.Advance(noon, down(990)))
}

func TestLedgerRolling(t *testing.T) {
	// Steps of one minute.
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Rolling, Window: time.Hour}}, down(0))
	at := func(minutes, seconds int) time.Time {
		return noon.Add(time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second)
	}
	require.Equal(t, at(1, 0), l.Next())
	l.Advance(at(0, 0), down(100))
	l.Advance(at(0, 30), down(300))
	require.Equal(t, at(1, 0), l.Next())
	require.Equal(t, []int{80, 100, 0}, told(l.Advance(at(30, 0), down(1000))))
	require.Equal(t, uint64(1000), l.Budget().Limit)

	require.Empty(t, l.Advance(at(59, 59), down(1000)))
	require.Equal(t, quota.Usage{Used: 900, Limit: 1000, Remaining: 100, PeriodStart: noon}, l.Usage(at(60, 0), down(1000)),
		"what was seen at the end of a step leaves one window later")
	require.Equal(t, quota.Bytes(900), l.Usage(at(60, 59), down(1000)).Used)
	require.Equal(t, quota.Bytes(700), l.Usage(at(61, 0), down(1000)).Used, "what was seen inside of a step, at its end")
	require.Empty(t, l.Advance(at(61, 0), down(1000)))
	require.Equal(t, quota.Budget{Limited: true, Limit: 1300, Mark: 1100}, l.Budget())
	require.Equal(t, []int{80}, told(l.Advance(at(61, 0), down(1100))), "told again after usage fell")

	require.NoError(t, l.TopUp(500, at(61, 10), down(1100)))
	require.Equal(t, uint64(1800), l.Budget().Limit)
	l.Reset(at(61, 10), down(1100))
	require.Equal(t, uint64(1100+1500), l.Budget().Limit)
	require.Equal(t, quota.Bytes(1500), l.Usage(at(121, 59), down(1100)).Limit)
	require.Equal(t, quota.Bytes(1000), l.Usage(at(122, 0), down(1100)).Limit, "a top-up lasts one window")
	require.Equal(t, quota.Bytes(0), l.Usage(at(9000, 0), down(1100)).Used)
}

func TestLedgerClone(t *testing.T) {
	l := newLedger(t, quota.Cap{Bytes: 1000, Period: quota.Period{Kind: quota.Rolling, Window: time.Hour}}, down(0))
	l.Advance(noon, down(100))
	require.NoError(t, l.TopUp(10, noon, down(850)))
	before := state(t, l)
	clone := l.Clone()
	clone.Advance(noon, down(1000))
	clone.Reset(noon, down(1000))
	require.Equal(t, before, state(t, l))
}

func TestLedgerStrangeTimes(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(math.MinInt64/2, 0), time.Unix(1<<40, 5), noon.In(time.FixedZone("", 3600))} {
		for _, p := range []quota.Period{{}, daily, {Kind: quota.Weekly}, {Kind: quota.Monthly}, {Kind: quota.Rolling, Window: time.Hour}} {
			l, err := quota.NewLedger(quota.Cap{Bytes: 1, Period: p}, at, down(0))
			require.NoError(t, err)
			l.Advance(at, down(5))
			l.Advance(noon, down(6))
			l.Reset(at, down(7))
			require.NotEmpty(t, state(t, l))
		}
	}
}
