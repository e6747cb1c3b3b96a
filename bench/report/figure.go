package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// operation is what a figure makes of two series.
type operation int

const (
	plain operation = iota
	// ratio divides by the baseline's: how much of it is reached.
	ratio
	// times divides the baseline's by it: how many times faster it is, where less is better.
	times
	// more takes the baseline's away.
	more
)

// figure says how to get a series: from the benchmark of a topic, in a unit, where the keys are those of a row with these in
// their places.
type figure struct {
	topic string // empty: the row's
	unit  string
	keys  keys
	op    operation
	// base are what the keys of the baseline are beside those of the figure, and its topic and unit where they are others.
	base                keys
	baseTopic, baseUnit string
	// scale is what it is multiplied with, for another unit; 0: 1.
	scale float64
	// per is a key whose value, a number, the figure is divided by.
	per string
}

// find is the case of a topic with exactly these keys.
func (r *results) find(topic string, of keys) *subject {
	id := of.String()
	for _, s := range r.subjects {
		if s.topic == topic && s.keys.String() == id {
			return s
		}
	}
	return nil
}

func (r *results) series(topic, unit string, of keys) series {
	s := r.find(topic, of)
	if s == nil {
		return nil
	}
	return s.series(unit)
}

// of is the figure for a row; nil if it, or its baseline, was not measured.
func (f figure) of(r *results, topic string, row keys) series {
	of := row.with(f.keys)
	topic = cmp.Or(f.topic, topic)
	own := f.scaled(r.series(topic, f.unit, of))
	if f.per != "" {
		n, err := strconv.ParseFloat(of[f.per], 64)
		if err != nil || n == 0 {
			return nil
		}
		own = join(own, own, func(a, _ float64) float64 { return a / n })
	}
	if f.op == plain {
		return own
	}
	base := f.scaled(r.series(cmp.Or(f.baseTopic, topic), cmp.Or(f.baseUnit, f.unit), of.with(f.base)))
	return join(own, base, f.op.of)
}

func (f figure) scaled(s series) series {
	if f.scale == 0 {
		return s
	}
	return join(s, s, func(a, _ float64) float64 { return a * f.scale })
}

// of makes one figure of two. What cannot be divided is NaN, as what was not measured.
func (o operation) of(own, base float64) float64 {
	switch o {
	case ratio:
		return quotient(own, base)
	case times:
		return quotient(base, own)
	case more:
		return own - base
	default:
		return own
	}
}

func quotient(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// format writes a figure in three digits, and "-" for none.
func format(x float64) string {
	const hundred, thousandth = 100, 0.001
	switch size := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case x == 0:
		return "0"
	case size >= hundred:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case size < thousandth:
		return strconv.FormatFloat(x, 'f', 6, 64)
	default:
		return strings.TrimSuffix(fmt.Sprintf("%#.3g", x), ".")
	}
}
