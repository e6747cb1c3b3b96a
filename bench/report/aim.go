package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// aim is what a figure is to be.
type aim struct {
	// about is the aim in words, without the bound.
	about string
	topic string
	figure
	// each are keys that may have any value, by the cases that were measured: all of them are to reach the aim.
	each  []string
	bound bound
}

// bound is what a figure is to be at most, or at least.
type bound struct {
	limit float64
	unit  string
	// least has the limit be the least that is enough; it is the most otherwise.
	least bool
	// less has even the limit be too much.
	less bool
	// magnitude has the sign not matter.
	magnitude bool
}

func atLeast(limit float64) bound             { return bound{limit: limit, least: true} }
func atMost(limit float64, unit string) bound { return bound{limit: limit, unit: unit} }
func below(limit float64, unit string) bound  { return bound{limit: limit, unit: unit, less: true} }
func within(limit float64, unit string) bound {
	return bound{limit: limit, unit: unit, magnitude: true}
}

func (b bound) String() string {
	words := "at most"
	switch {
	case b.least:
		words = "at least"
	case b.less:
		words = "below"
	case b.magnitude:
		words = "within"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %v %s", words, b.limit, b.unit))
}

// reached reports whether a figure is as it is to be.
func (b bound) reached(x float64) bool {
	if b.magnitude {
		x = math.Abs(x)
	}
	switch {
	case b.least:
		return x >= b.limit
	case b.less:
		return x < b.limit
	default:
		return x <= b.limit
	}
}

// worse reports whether x is farther from what is aimed at than y.
func (b bound) worse(x, y float64) bool {
	switch {
	case b.least:
		return x < y
	case b.magnitude:
		return math.Abs(x) > math.Abs(y)
	default:
		return x > y
	}
}

// The verdicts.
const (
	reached     = "reached"
	missed      = "MISSED"
	notMeasured = "not measured"
)

// judged is an aim and what it came to.
type judged struct {
	aim
	cases []judgedCase
}

// judgedCase is one case that an aim is about.
type judgedCase struct {
	keys   keys
	series series
}

func (c judgedCase) value() float64 { return c.series.median() }

// judge looks at all cases of an aim that were measured.
func (a aim) judge(r *results) judged {
	j := judged{aim: a}
	seen := map[string]bool{}
	for _, s := range r.subjects {
		own := s.keys.only(a.each).with(a.keys)
		if s.topic != a.topic || seen[own.String()] || own.String() != s.keys.String() {
			continue
		}
		seen[own.String()] = true
		if figures := a.of(r, a.topic, own); len(figures.figures()) > 0 {
			j.cases = append(j.cases, judgedCase{s.keys.only(a.each), figures})
		}
	}
	slices.SortStableFunc(j.cases, func(x, y judgedCase) int {
		for _, key := range a.each {
			if c := order(nil, x.keys[key], y.keys[key]); c != 0 {
				return c
			}
		}
		return 0
	})
	return j
}

// worst is the case that is farthest from the aim; false without any.
func (j judged) worst() (w judgedCase, ok bool) {
	for i, c := range j.cases {
		if i == 0 || j.bound.worse(c.value(), w.value()) {
			w = c
		}
	}
	return w, len(j.cases) > 0
}

func (j judged) verdict() string {
	worst, ok := j.worst()
	switch {
	case !ok:
		return notMeasured
	case j.bound.reached(worst.value()):
		return reached
	default:
		return missed
	}
}

// writeAims shows each aim with the case that is farthest from it and how many cases there are, and names those that nothing was
// measured for.
func writeAims(w io.Writer, all []judged) {
	lines := [][]string{{"aim", "is to be", "came to", "", "in the rounds", "worst of"}}
	var open []string
	for _, j := range all {
		worst, ok := j.worst()
		if !ok {
			open = append(open, j.about)
			continue
		}
		line := []string{j.about, j.bound.String(), format(worst.value()), j.verdict(), worst.series.span(), ""}
		if len(j.cases) > 1 {
			line[5] = fmt.Sprintf("%d: %s", len(j.cases), worst.keys)
		}
		lines = append(lines, line)
	}
	if len(lines) > 1 {
		fmt.Fprintf(w, "\nAims\n")
		align(w, lines, len(lines[0]))
	}
	for i, about := range open {
		if i == 0 {
			fmt.Fprintf(w, "\nAims that nothing was measured for\n")
		}
		fmt.Fprintf(w, "  %s\n", about)
	}
}
