package metrics

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Type is a kind of metric, as Prometheus names it.
type Type string

// The types.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Family describes series of one name.
type Family struct {
	Name   string
	Type   Type
	Help   string
	Labels []string
}

// Families returns every family of this package, by name.
func Families() []Family {
	all := slices.Concat(nodeFamilies(), peerFamilies(), httpFamilies(), storeFamilies(), certificateFamilies(), fleetFamilies(), loadFamilies())
	slices.SortFunc(all, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// descs are the descriptions of families, by name.
type descs map[string]described

type described struct {
	Family
	desc *prometheus.Desc
}

func describe(families []Family) descs {
	d := make(descs, len(families))
	for _, f := range families {
		d[f.Name] = described{f, prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)}
	}
	return d
}

func (d descs) describe(ch chan<- *prometheus.Desc) {
	for _, f := range d {
		ch <- f.desc
	}
}

// send makes a sample of a family that is there.
func (d descs) send(ch chan<- prometheus.Metric, name string, value float64, labels ...string) {
	f, ok := d[name]
	if !ok {
		panic("metrics: no family " + name)
	}
	kind := prometheus.GaugeValue
	if f.Type == Counter {
		kind = prometheus.CounterValue
	}
	ch <- prometheus.MustNewConstMetric(f.desc, kind, value, labels...)
}

// family returns one of some families.
func family(families []Family, name string) Family {
	i := slices.IndexFunc(families, func(f Family) bool { return f.Name == name })
	if i < 0 {
		panic("metrics: no family " + name)
	}
	return families[i]
}

func counterOpts(f Family) prometheus.CounterOpts {
	return prometheus.CounterOpts{Name: f.Name, Help: f.Help}
}

func gaugeOpts(f Family) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Name: f.Name, Help: f.Help}
}

// nativeFactor is how much wider a bucket of a native histogram is than the one before: 10 % at most, which is exact enough for any
// quantile. nativeBuckets bounds their number, past which they are made wider.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
)

// histogramOpts makes a histogram native, and classic too, for a Prometheus that does not know native ones.
func histogramOpts(f Family, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: f.Name, Help: f.Help, Buckets: buckets,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
	}
}

// known is a closed set of values of a label.
type known map[string]bool

func knownOf(values ...string) known {
	k := make(known, len(values))
	for _, v := range values {
		k[v] = true
	}
	return k
}

const other = "other"

// of returns a value of the set.
func (k known) of(value string) string {
	if k[value] {
		return value
	}
	return other
}

// words makes a value of a label of some words.
func words(s fmt.Stringer) string { return hyphenated(s.String()) }

func hyphenated(s string) string { return strings.ReplaceAll(s, " ", "-") }
