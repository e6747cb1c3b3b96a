package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// taken is what a parser found, as text.
type taken []string

func (t *taken) result(pkg string, m measured) {
	line := pkg + " " + m.name
	for _, one := range m.metrics {
		line += " " + strconv.FormatFloat(one.value, 'g', -1, 64) + " " + one.unit
	}
	*t = append(*t, line)
}
func (t *taken) comment(key, value string) { *t = append(*t, "# "+key+": "+value) }
func (t *taken) skipped(s skip)            { *t = append(*t, "skip "+s.Name+": "+s.Reason) }
func (t *taken) failed(line string)        { *t = append(*t, "fail "+line) }

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"a figure", "BenchmarkA-8 \t 100\t 12.5 ns/op\t3 B/op", " A 12.5 ns/op 3 B/op"},
		{"one processor", "BenchmarkA/path=exit 1 812 Mbit/s", " A/path=exit 812 Mbit/s"},
		{"a value that ends in a number", "BenchmarkA/x=a-7-2 1 1 ms", " A/x=a-7 1 ms"},
		{"an exponent, and a sign", "BenchmarkA 1 1e3 ms -0.5 err-%", " A 1000 ms -0.5 err-%"},
		{"a package", "pkg: example.org/p\nBenchmarkA 1 1 ms", "example.org/p A 1 ms"},
		{"a carriage return", "BenchmarkA 1 1 ms\r", " A 1 ms"},
		{"no figures yet", "BenchmarkA/path=exit", ""},
		{"none at all", "BenchmarkA 1", " A"},
		{"prose", "Benchmarking is hard 1 2 3\nBenchmark \nok  \texample.org/p 1s\nPASS", ""},
		{"comments", "# round: 2\n# Round: 3\n#round: 4\n# load: 1 2", "# round: 2|# load: 1 2"},
		{"the processor", "cpu: Some Processor", "# cpu: Some Processor"},
		{"left out", "--- SKIP: BenchmarkA/x=1-2 (0.00s)\n    a_test.go:3: needs root\n    more\nok", "skip A/x=1: needs root"},
		{"left out without a word", "--- SKIP: BenchmarkA", "skip A: "},
		{"two left out", "--- SKIP: BenchmarkA\n--- SKIP: BenchmarkB\n    why", "skip A: |skip B: why"},
		{
			"failures", "--- FAIL: BenchmarkA\n    a_test.go:3: no\nFAIL\nexit status 1\nFAIL\texample.org/p\t0.1s\npanic: no",
			"fail --- FAIL: BenchmarkA|fail FAIL\texample.org/p\t0.1s|fail panic: no",
		},
		{"no unit", "x\nBenchmarkA 1 5", `fail line 2: a figure without a unit: "BenchmarkA 1 5"`},
		{"no number", "BenchmarkA 1 x ms", `fail line 1: "x" is not a number: "BenchmarkA 1 x ms"`},
		{"not a number", "BenchmarkA 1 NaN ms", `fail line 1: "NaN" is not a number: "BenchmarkA 1 NaN ms"`},
		{"two at once", "BenchmarkA BenchmarkB 1 1 ms", `fail line 1: a benchmark without the number of its operations: "BenchmarkA BenchmarkB 1 1 ms"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got taken
			require.NoError(t, parse(strings.NewReader(c.input), &got))
			require.Equal(t, c.want, strings.Join(got, "|"))
		})
	}
}

func TestParseRefusesAnEndlessLine(t *testing.T) {
	require.ErrorContains(t, parse(strings.NewReader(strings.Repeat("x", maxLine+1)), new(taken)), "token too long")
}

// lines are a parser's results alone.
type lines []measured

func (l *lines) result(_ string, m measured) { *l = append(*l, m) }
func (l *lines) comment(string, string)      {}
func (l *lines) skipped(skip)                {}
func (l *lines) failed(string)               {}

// FuzzParse has whatever is found be found again when it is written as go test would, and a report be made of it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"pkg: p\nBenchmarkA/x=1-2 1 2 ms\n", "# round: 3\n", "--- SKIP: BenchmarkA\n    a_test.go:1: why\n", "--- FAIL: BenchmarkA\n",
		"BenchmarkForward 1 5 a/b:up-kpps", "Benchmark\xff 1 1 ms", "BenchmarkPeer/by=kernel/peers=0 1 3 start-ms",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		var first, second lines
		if err := parse(strings.NewReader(input), &first); err != nil {
			require.ErrorContains(t, err, "token too long")
			return
		}
		var text strings.Builder
		for _, m := range first {
			fmt.Fprintf(&text, "Benchmark%s-2 1", m.name)
			for _, one := range m.metrics {
				fmt.Fprintf(&text, " %v %s", one.value, one.unit)
			}
			fmt.Fprintln(&text)
		}
		require.NoError(t, parse(strings.NewReader(text.String()), &second))
		require.Equal(t, first, second)
		r := newResults()
		require.NoError(t, parse(strings.NewReader(input), r))
		filled, aims := show(io.Discard, &machine{}, r)
		require.NoError(t, newDocument(&machine{}, r, filled, aims).write(io.Discard))
	})
}
