package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// series are the figures of one case in one unit, by rounds; a round without a figure is NaN.
type series []float64

// median is that of the rounds that have a figure; NaN without any. Of two in the middle it is their mean.
func (s series) median() float64 {
	some := s.figures()
	if len(some) == 0 {
		return math.NaN()
	}
	slices.Sort(some)
	middle := len(some) / 2
	if len(some)%2 == 1 {
		return some[middle]
	}
	return (some[middle-1] + some[middle]) / 2
}

// figures are what there is.
func (s series) figures() []float64 {
	return slices.DeleteFunc(slices.Clone(s), math.IsNaN)
}

// span is the least and the most of the rounds, where there are several: "1.02 to 1.11".
func (s series) span() string {
	some := s.figures()
	if len(some) < 2 {
		return ""
	}
	return format(slices.Min(some)) + " to " + format(slices.Max(some))
}

// join makes one series of two, round by round.
func join(a, b series, f func(a, b float64) float64) series {
	joined := make(series, min(len(a), len(b)))
	for i := range joined {
		joined[i] = f(a[i], b[i]) // with NaN it is NaN
	}
	return joined
}

// subject is a case of a benchmark, with all its figures.
type subject struct {
	pkg, topic string
	keys       keys
	// name is as the benchmark has it, with what a metric says of its case at the end.
	name  string
	units []string // in the order of their appearance
	// samples are by unit and then by round; several of one round are one, their median, in the end.
	samples map[string][][]float64
}

func (s *subject) series(unit string) series {
	rounds := s.samples[unit]
	all := make(series, len(rounds))
	for i, samples := range rounds {
		all[i] = series(samples).median()
	}
	return all
}

// results is all that was measured. It is the sink of a parser.
type results struct {
	subjects []*subject // in the order of their appearance
	byName   map[string]*subject
	// round is that of the input's last line about it; 0 before any.
	round    int
	comments map[string]string
	skips    []skip
	failures []string
}

var _ sink = (*results)(nil)

func newResults() *results {
	return &results{byName: make(map[string]*subject), comments: make(map[string]string)}
}

func (r *results) comment(key, value string) {
	if key != commentRound {
		r.comments[key] = value
		return
	}
	const most = 1000
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		r.failed("# round: " + value + ": not a number from 1 to " + strconv.Itoa(most))
		return
	}
	r.round = n
}

func (r *results) skipped(s skip) {
	if !slices.Contains(r.skips, s) {
		r.skips = append(r.skips, s)
	}
}

func (r *results) failed(line string) {
	if !slices.Contains(r.failures, line) {
		r.failures = append(r.failures, line)
	}
}

func (r *results) result(pkg string, m measured) {
	for _, metric := range m.metrics {
		if metric.unit == "ns/op" && len(m.metrics) > 1 && metric.value == 0 {
			continue // so a benchmark says that it is about the others
		}
		more, unit := "", metric.unit
		if i := strings.LastIndex(unit, ":"); i > 0 && i < len(unit)-1 {
			more, unit = unit[:i], unit[i+1:]
		}
		r.subject(pkg, m.name, more).add(unit, r.round, metric.value)
	}
}

func (r *results) subject(pkg, name, more string) *subject {
	id := pkg + " " + name + " " + more
	if s := r.byName[id]; s != nil {
		return s
	}
	s := &subject{pkg: pkg, name: name, samples: make(map[string][][]float64)}
	s.topic, s.keys = splitName(name, more)
	if more != "" {
		s.name += "/" + more
	}
	r.byName[id] = s
	r.subjects = append(r.subjects, s)
	return s
}

// add takes a figure of a round. Without rounds each is of another.
func (s *subject) add(unit string, round int, value float64) {
	rounds, known := s.samples[unit]
	if !known {
		s.units = append(s.units, unit)
	}
	if round == 0 {
		round = len(rounds) + 1
	}
	for len(rounds) < round {
		rounds = append(rounds, nil)
	}
	rounds[round-1] = append(rounds[round-1], value)
	s.samples[unit] = rounds
}

// rounds is how many rounds have figures.
func (r *results) rounds() (most int) {
	for _, s := range r.subjects {
		for _, samples := range s.samples {
			most = max(most, len(samples))
		}
	}
	return most
}
