package usagelog_test

import (
	"maps"
	"slices"
	"time"

	"github.com/waylume/waylume/usagelog"
)

// model is a log as a list of all that was appended and is still there; it sums up again for each question.
type model struct {
	appends []appended
	// turn counts operations; added says in which a subject came to be.
	turn  int
	added map[usagelog.Subject]int
}

// appended is one Append.
type appended struct {
	turn     int
	at       time.Time
	all      bool
	readings []usagelog.Reading
	// path, begin and end are where the log wrote it.
	path       string
	begin, end int64
}

func newModel() *model { return &model{added: make(map[usagelog.Subject]int)} }

// usage is what each subject used in (from, to].
func (m *model) usage(from, to time.Time) map[usagelog.Subject]usagelog.Counters {
	// What was there when all were read first, began nobody knows when.
	first := int(^uint(0) >> 1)
	for _, a := range m.appends {
		if a.all {
			first = min(first, a.turn)
		}
	}
	sums := make(map[usagelog.Subject]usagelog.Counters)
	highest := make(map[usagelog.Subject]usagelog.Counters)
	for _, a := range m.appends {
		for _, r := range a.readings {
			before, seen := highest[r.Subject]
			if !seen && m.added[r.Subject] <= first {
				before = r.Counters
			}
			after := usagelog.Counters{
				Download: max(before.Download, r.Counters.Download), Upload: max(before.Upload, r.Counters.Upload),
			}
			highest[r.Subject] = after
			if growth := minus(after, before); growth != (usagelog.Counters{}) && a.at.After(from) && !a.at.After(to) {
				sums[r.Subject] = sums[r.Subject].Add(growth)
			}
		}
	}
	return sums
}

// span is the time that (from, to] really covers.
func (m *model) span(from, to time.Time) usagelog.Span {
	var times []time.Time
	for _, a := range m.appends {
		if a.all {
			times = append(times, a.at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	var s usagelog.Span
	for _, at := range times {
		if s.From.IsZero() || !at.After(from) {
			s.From = at
		}
		if !at.After(to) {
			s.To = at
		}
	}
	if s.To.Before(s.From) {
		return usagelog.Span{}
	}
	return s
}

// steady reports whether the clock never went back: else earlier times may have been read in segments that are not needed.
func (m *model) steady() bool {
	return slices.IsSortedFunc(m.appends, func(a, b appended) int { return a.at.Compare(b.at) })
}

// cut forgets what is past a length of the last file, which is where the last Append was written.
func (m *model) cut(path string, size int64) {
	m.appends = slices.DeleteFunc(m.appends, func(a appended) bool { return a.path == path && a.end > size })
}

func minus(a, b usagelog.Counters) usagelog.Counters {
	return usagelog.Counters{Download: a.Download - b.Download, Upload: a.Upload - b.Upload}
}

// sums puts a summary as the model has it.
func sums(s usagelog.Summary) map[usagelog.Subject]usagelog.Counters {
	m := make(map[usagelog.Subject]usagelog.Counters)
	for _, u := range s.Usages {
		m[u.Subject] = u.Counters
	}
	return m
}

func equal(a, b map[usagelog.Subject]usagelog.Counters) bool { return maps.Equal(a, b) }
