package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// of reads results from text.
func of(t *testing.T, lines ...string) *results {
	t.Helper()
	r := newResults()
	require.NoError(t, parse(strings.NewReader(strings.Join(lines, "\n")), r))
	require.Empty(t, r.failures)
	return r
}

func TestMedian(t *testing.T) {
	nan := math.NaN()
	require.InDelta(t, 2.0, series{3, 1, 2}.median(), 0)
	require.InDelta(t, 2.5, series{4, 1, 2, 3}.median(), 0)
	require.InDelta(t, 2.0, series{nan, 3, nan, 1}.median(), 0, "rounds without a figure do not count")
	require.True(t, math.IsNaN(series{nan}.median()))
	require.True(t, math.IsNaN(series(nil).median()))
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 9).Draw(t, "figures")
		m := series(slices.Clone(all)).median()
		under, over := 0, 0
		for _, x := range all {
			if x < m {
				under++
			}
			if x > m {
				over++
			}
		}
		require.LessOrEqual(t, under, len(all)/2)
		require.LessOrEqual(t, over, len(all)/2)
	})
}

// A ratio is of figures of one round: a machine that becomes half as fast in between changes none.
func TestRatiosAreOfOneRound(t *testing.T) {
	r := of(t, "# round: 1", "BenchmarkA/by=a 1 100 ms", "BenchmarkA/by=b 1 50 ms",
		"# round: 2", "BenchmarkA/by=b 1 100 ms", "BenchmarkA/by=a 1 200 ms",
		"# round: 3", "BenchmarkA/by=b 1 7 ms")
	f := figure{unit: "ms", keys: keys{"by": "a"}, op: ratio, base: keys{"by": "b"}}
	got := f.of(r, "A", keys{})
	require.Equal(t, series{2, 2}, got, "in the third round there is nothing to compare")
	f.op = times
	require.Equal(t, series{0.5, 0.5}, f.of(r, "A", keys{}))
	f.op = more
	require.Equal(t, series{50, 100}, f.of(r, "A", keys{}))
	require.Equal(t, 3, r.rounds())
}

func TestRounds(t *testing.T) {
	// Without a word about rounds, as -count writes it.
	r := of(t, "BenchmarkA 1 1 ms", "BenchmarkB 1 5 ms", "BenchmarkA 1 2 ms")
	require.Equal(t, series{1, 2}, r.series("A", "ms", keys{}))
	require.Equal(t, series{5}, r.series("B", "ms", keys{}))
	// With it, several of a round are one.
	r = of(t, "# round: 2", "BenchmarkA 1 1 ms", "BenchmarkA 1 2 ms", "BenchmarkA 1 9 ms")
	require.Len(t, r.series("A", "ms", keys{}), 2)
	require.InDelta(t, 2.0, r.series("A", "ms", keys{}).median(), 0)
	// A round is a number.
	for _, bad := range []string{"0", "-1", "x", "1001"} {
		r = newResults()
		require.NoError(t, parse(strings.NewReader("# round: "+bad), r))
		require.Len(t, r.failures, 1)
	}
}

func TestFigure(t *testing.T) {
	r := of(t, "BenchmarkA/peers=100/path=x 1 50 ms 0 kpps", "BenchmarkA/path=x/peers=0 1 5 ms", "BenchmarkB/of=x 1 10 s",
		"BenchmarkC 1 0 ns/op 3 plain:up-kpps 4 kernel/10:up-kpps")
	x := keys{"path": "x", "peers": "100"}
	require.Equal(t, series{0.5}, figure{unit: "ms", per: "peers"}.of(r, "A", x))
	require.Empty(t, figure{unit: "ms", per: "peers"}.of(r, "A", keys{"path": "x", "peers": "0"}), "nothing is each's of none")
	require.Empty(t, figure{unit: "ms"}.of(r, "A", keys{"path": "x"}), "another case")
	require.Empty(t, figure{unit: "us"}.of(r, "A", x), "another unit")
	over := figure{unit: "ms", op: ratio, baseTopic: "B", baseUnit: "s", base: keys{"path": "", "peers": "", "of": "x"}}
	require.Equal(t, series{5}, over.of(r, "A", x))
	byZero := figure{unit: "ms", op: ratio, baseUnit: "kpps"}.of(r, "A", x)
	require.Len(t, byZero, 1)
	require.Empty(t, byZero.figures())
	// Another unit, of words that are no pairs.
	r2 := of(t, "BenchmarkD/cold 1 5000000 ns/op", "BenchmarkD/warm 1 1000000 ns/op", "BenchmarkD/a/x=1/b 1 7 c:ms")
	cold := figure{unit: "ns/op", scale: milli, keys: keys{"of": "cold"}, op: more, base: keys{"of": "warm"}}
	require.Equal(t, series{4}, cold.of(r2, "D", nil))
	cold.op = ratio
	require.Equal(t, series{5}, cold.of(r2, "D", nil))
	require.Equal(t, series{7}, r2.series("D", "ms", keys{"of": "a/b/c", "x": "1"}))
	// What one benchmark measures of several.
	require.Equal(t, series{4}, r.series("C", "up-kpps", keys{"of": "kernel/10"}))
	require.Empty(t, r.series("C", "ns/op", keys{}), "a benchmark that leaves its own time out")
}

func TestFormat(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1: "1.00", 0.09512: "0.0951", 5.2: "5.20", 37.94: "37.9", 99.99: "100", 100: "100", 1427.4: "1427", -2.5: "-2.50",
		0.00005: "0.000050", 24715: "24715",
	} {
		require.Equal(t, want, format(x))
	}
	require.Equal(t, "-", format(math.NaN()))
}

func TestOrder(t *testing.T) {
	for _, sorted := range [][]string{
		{"1", "8", "64", "10000"}, {"256k", "1M", "10M", "1G"}, {"kernel/10", "kernel/1000", "kernel/10000"}, {"", "1"}, {"a", "b"},
	} {
		shuffled := slices.Clone(sorted)
		slices.Reverse(shuffled)
		slices.SortFunc(shuffled, func(a, b string) int { return order(nil, a, b) })
		require.Equal(t, sorted, shuffled)
	}
	list := []string{"plain", "kernel"}
	names := []string{"shell/10", "kernel/100", "other", "plain", "kernel/10"}
	slices.SortFunc(names, func(a, b string) int { return order(list, a, b) })
	require.Equal(t, []string{"plain", "kernel/10", "kernel/100", "other", "shell/10"}, names)
}
