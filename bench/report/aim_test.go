package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBound(t *testing.T) {
	for _, c := range []struct {
		bound     bound
		text      string
		good, bad []float64
	}{
		{atLeast(2.5), "at least 2.5", []float64{2.5, 3}, []float64{2.49, 0, -3}},
		{atMost(0, "B"), "at most 0 B", []float64{0, -1}, []float64{1}},
		{below(10, "ms"), "below 10 ms", []float64{9.99, -20}, []float64{10, 11}},
		{within(2, "%"), "within 2 %", []float64{2, -2, 0}, []float64{2.01, -2.01}},
	} {
		require.Equal(t, c.text, c.bound.String())
		for _, x := range c.good {
			require.True(t, c.bound.reached(x), "%v %v", c.bound, x)
			for _, y := range c.bad {
				require.True(t, c.bound.worse(y, x), "%v: %v is worse than %v", c.bound, y, x)
			}
		}
		for _, y := range c.bad {
			require.False(t, c.bound.reached(y), "%v %v", c.bound, y)
		}
	}
}

func TestAnAimIsMissedWhereOneCaseMissesIt(t *testing.T) {
	a := aim{about: "it", topic: "A", figure: figure{unit: "err-%"}, each: []string{"limit", "flows"}, bound: within(2, "%")}
	r := of(t, "BenchmarkA/limit=1M/flows=1 1 0.5 err-%", "BenchmarkA/limit=256k/flows=1 1 -1.5 err-%", "BenchmarkA/limit=1M 1 9 Mbit/s",
		"BenchmarkA/limit=1M/flows=1/else=x 1 50 err-%")
	j := a.judge(r)
	require.Equal(t, reached, j.verdict())
	require.Len(t, j.cases, 2, "a case with other keys is another thing")
	require.Equal(t, "256k", j.cases[0].keys["limit"])
	worst, ok := j.worst()
	require.True(t, ok)
	require.InDelta(t, -1.5, worst.value(), 0)

	r = of(t, "BenchmarkA/limit=1M/flows=1 1 0.5 err-%", "BenchmarkA/limit=256k/flows=1 1 -3 err-%")
	require.Equal(t, missed, a.judge(r).verdict())
	require.Equal(t, notMeasured, a.judge(newResults()).verdict())
}

// Each aim is of a topic that has a table, and the tables show what it is about.
func TestAimsAreShownInTables(t *testing.T) {
	for _, a := range allAims() {
		require.NotEmpty(t, a.about)
		require.False(t, slices.ContainsFunc(allAims(), func(b aim) bool { return b.about == a.about && b.judge(newResults()).bound != a.bound }),
			"%s: two aims of one name", a.about)
		// A case that the aim is about.
		some := a.keys.with()
		for _, key := range a.each {
			some[key] = "1"
		}
		maps.DeleteFunc(some, func(_, value string) bool { return value == "" })
		var found bool
		for _, table := range tables() {
			found = found || table.topic == a.topic && table.has(some) &&
				slices.ContainsFunc(table.columns, func(c column) bool { return c.unit == a.unit })
		}
		require.True(t, found, "%s: no table has %s %s in %s", a.about, a.topic, some, a.unit)
	}
}

func TestTableShowsEachCaseOnce(t *testing.T) {
	for _, table := range tables() {
		require.NotEmpty(t, table.title)
		require.NotEmpty(t, table.rows, table.title)
		require.NotEmpty(t, table.columns, table.title)
	}
	var text strings.Builder
	r := of(t, "BenchmarkOther/x=1 1 5 ms", "BenchmarkThroughput/path=exit/direction=up/streams=1/peers=1 1 5 Mbit/s 7 swaps")
	show(&text, &machine{}, r)
	require.Contains(t, text.String(), "\nOther/x=1")
	require.Contains(t, text.String(), "swaps")
	require.Equal(t, 1, strings.Count(text.String(), "What no table has"))
}
