package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine is the longest line that is read, in bytes.
const maxLine = 1 << 20

// The keys of comments that have a meaning: "# round: 2". What go test says of the processor counts as one.
const (
	commentRound     = "round"
	commentProcessor = "cpu"
)

// measured is one line of figures.
type measured struct {
	// name is as go test writes it, with neither "Benchmark" nor the number of processors.
	name    string
	metrics []metric
}

// metric is one figure of a line.
type metric struct {
	unit  string
	value float64
}

// skip is a benchmark that did not run, and why.
type skip struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// sink takes what a parser finds, in the order of the input.
type sink interface {
	result(pkg string, m measured)
	// comment is a line "# key: value".
	comment(key, value string)
	skipped(s skip)
	// failed is a line that says that something failed, or one that cannot be read.
	failed(line string)
}

var (
	reComment = regexp.MustCompile(`^# ([a-z][a-z-]*): (.*)$`)
	// reSource is where a test's message begins.
	reSource = regexp.MustCompile(`^ +[^ :]+\.go:[0-9]+: `)
	// reProcessors stands at the end of a name where GOMAXPROCS is not 1.
	reProcessors = regexp.MustCompile(`-[0-9]+$`)
)

// parse reads the output of go test -bench, with -v or without, of any number of packages and rounds.
func parse(r io.Reader, to sink) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var pkg string
	var skipping *skip // whose reason is to come
	end := func() {
		if skipping != nil {
			to.skipped(*skipping)
			skipping = nil
		}
	}
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if skipping != nil && skipping.Reason == "" && strings.HasPrefix(line, "    ") {
			skipping.Reason = strings.TrimSpace(reSource.ReplaceAllString(line, ""))
			continue
		}
		end()
		if name, ok := strings.CutPrefix(line, "--- SKIP: "); ok {
			name, _, _ = strings.Cut(name, " ")
			skipping = &skip{Name: trimName(name)}
			continue
		}
		if of, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = of
			continue
		}
		if model, ok := strings.CutPrefix(line, "cpu: "); ok {
			to.comment(commentProcessor, model)
			continue
		}
		if c := reComment.FindStringSubmatch(line); c != nil {
			to.comment(c[1], c[2])
			continue
		}
		if isFailure(line) {
			to.failed(line)
			continue
		}
		m, ok, err := parseLine(line)
		switch {
		case err != nil:
			to.failed(fmt.Sprintf("line %d: %v: %.200q", n, err, line))
		case ok:
			to.result(pkg, m)
		}
	}
	end()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the benchmarks' output: %w", err)
	}
	return nil
}

// isFailure reports whether go test says so that something failed. FAIL alone is a package's, named by the line after.
func isFailure(line string) bool {
	return strings.HasPrefix(line, "--- FAIL: ") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "panic: ")
}

// parseLine reads a line of figures. Other lines are not ok.
func parseLine(line string) (m measured, ok bool, err error) {
	name, found := strings.CutPrefix(line, "Benchmark")
	if first, _ := utf8.DecodeRuneInString(name); !found || unicode.IsLower(first) {
		return measured{}, false, nil
	}
	fields := strings.Fields(name)
	if len(fields) < 2 || strings.HasPrefix(name, " ") {
		return measured{}, false, nil // with -v each name stands alone before its figures
	}
	if _, err := strconv.ParseUint(fields[1], 10, 63); err != nil {
		return measured{}, false, errors.New("a benchmark without the number of its operations")
	}
	if len(fields)%2 != 0 {
		return measured{}, false, errors.New("a figure without a unit")
	}
	m.name = trimName("Benchmark" + fields[0])
	for i := 2; i < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
			return measured{}, false, fmt.Errorf("%q is not a number", fields[i])
		}
		m.metrics = append(m.metrics, metric{fields[i+1], value})
	}
	return m, true, nil
}

// trimName takes off what every benchmark's name has.
func trimName(name string) string {
	return reProcessors.ReplaceAllString(strings.TrimPrefix(name, "Benchmark"), "")
}
