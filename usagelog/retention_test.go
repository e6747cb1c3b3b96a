package usagelog

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// expiredDays runs expired over segments of these days, and returns the days of those that it names.
func expiredDays(days []int64, retention time.Duration) []int64 {
	var list []segment
	for i, d := range days {
		list = append(list, segment{index: uint64(i + 1), day: d})
	}
	old := []int64{}
	for _, s := range expired(list, retention) {
		old = append(old, s.day)
	}
	return old
}

func TestExpired(t *testing.T) {
	const future, past = 4000, 0
	for _, c := range []struct {
		days []int64
		want []int64
	}{
		{nil, []int64{}},
		{[]int64{100}, []int64{}},
		{[]int64{100, 101, 102, 103}, []int64{}}, // 102 is reached, and 100 ended a day before
		{[]int64{100, 101, 102, 103, 104}, []int64{100}},
		{[]int64{100, 104, 105}, []int64{100}},                      // days without a segment
		{[]int64{100, 101, 102, 103, 103, 103}, []int64{}},          // segments of one day
		{[]int64{100, 101, 102, 103, future}, []int64{100}},         // a clock that is ahead
		{[]int64{100, 101, 102, 103, future, future}, []int64{100}}, // and a crash
		{[]int64{100, 101, 102, future, 103}, []int64{100}},         // set right
		{[]int64{100, 101, future, 102, 103, 104}, []int64{100}},    // it ages with what followed it
		{[]int64{100, 101, future, 102, 103, 106}, []int64{100}},
		{[]int64{100, 101, future, 102, 103, 106, 107}, []int64{100, 101, future, 102, 103}},
		{[]int64{100, 101, 102, past}, []int64{}}, // a clock that forgot the date
		{[]int64{100, 101, 102, past, 102}, []int64{}},
		{[]int64{100, 101, 102, past, 102, 103}, []int64{past}},
	} {
		require.Equal(t, c.want, expiredDays(c.days, 2*day), fmt.Sprint(c.days))
	}
}

func TestSegmentNames(t *testing.T) {
	s := segment{index: 17, day: dayOf(time.Date(2026, 11, 21, 23, 59, 59, 0, time.UTC).UnixNano()), limit: -1}
	require.Equal(t, "0000000017-2026-11-21.usage", s.name())
	parsed, ok := parseSegment(s.name())
	require.True(t, ok)
	require.Equal(t, s, parsed)
	long := segment{index: 123456789012, day: 0, limit: -1}
	parsed, ok = parseSegment(long.name())
	require.True(t, ok)
	require.Equal(t, long, parsed)
	for _, name := range []string{
		"", "lock", ".usage", "0000000000-2026-11-21.usage", "17-2026-11-21.usage", "0000000017-2026-11-31.usage",
		"0000000017-2026-11-21.usage.new", "-000000017-2026-11-21.usage", "0000000017.usage", "notes.usage",
	} {
		_, ok := parseSegment(name)
		require.False(t, ok, name)
	}
}
