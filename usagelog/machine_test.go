package usagelog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/usagelog"
)

// asker answers what was used.
type asker interface {
	Usage(ctx context.Context, from, to time.Time, match func(usagelog.Subject) bool) (usagelog.Summary, error)
	Series(ctx context.Context, subject usagelog.Subject, bounds []time.Time) (usagelog.Series, error)
}

// machine drives a log and the model with the same commands.
type machine struct {
	dir   string
	log   *usagelog.Log
	model *model
	now   time.Time
	// setBack: the clock may be.
	setBack bool
	// live are the counters of the subjects that there are.
	live     map[usagelog.Subject]usagelog.Counters
	order    []usagelog.Subject
	sequence uint64
}

// headerSize is the length of a segment's header: what is shorter is no segment.
const headerSize = 16

// options has a retention past all that a run reaches: what is deleted is another test's.
func options() usagelog.Options {
	return usagelog.Options{NoSync: true, Retention: usagelog.MaxRetention}
}

func (m *machine) open(t *rapid.T) []usagelog.Damage {
	l, err := usagelog.Open(m.dir, options())
	require.NoError(t, err)
	m.log = l
	return l.Damage()
}

func (m *machine) Add(t *rapid.T) {
	m.sequence += rapid.Uint64Range(1, 3).Draw(t, "step")
	s := peer(m.sequence)
	if rapid.Bool().Draw(t, "account") {
		s.Kind = usagelog.Account
	}
	m.model.turn++
	m.model.added[s] = m.model.turn
	m.live[s] = usagelog.Counters{}
	m.order = append(m.order, s)
}

func (m *machine) pick(t *rapid.T) usagelog.Subject {
	if len(m.order) == 0 {
		t.Skip("nobody is there")
	}
	return rapid.SampledFrom(m.order).Draw(t, "subject")
}

func (m *machine) Traffic(t *rapid.T) {
	s := m.pick(t)
	m.live[s] = m.live[s].Add(usagelog.Counters{
		Download: rapid.Uint64Range(0, 1<<rapid.IntRange(0, 40).Draw(t, "bits")).Draw(t, "download"),
		Upload:   rapid.Uint64Range(0, 1000).Draw(t, "upload"),
	})
}

// Restore sets counters back, as an old backup does.
func (m *machine) Restore(t *rapid.T) {
	s := m.pick(t)
	m.live[s] = usagelog.Counters{Download: m.live[s].Download / 2, Upload: m.live[s].Upload / 3}
}

func (m *machine) Remove(t *rapid.T) {
	s := m.pick(t)
	if rapid.Bool().Draw(t, "last reading") {
		m.append(t, []usagelog.Reading{{Subject: s, Counters: m.live[s]}}, false)
	}
	delete(m.live, s)
	for i := range m.order {
		if m.order[i] == s {
			m.order = append(m.order[:i:i], m.order[i+1:]...)
			return
		}
	}
}

func (m *machine) Clock(t *rapid.T) {
	back := 0
	if m.setBack {
		back = 30 * 60
	}
	m.now = m.now.Add(time.Duration(rapid.IntRange(-back, 30*60).Draw(t, "minutes")) * time.Minute)
}

func (m *machine) Append(t *rapid.T) {
	var readings []usagelog.Reading
	for _, s := range m.order {
		readings = append(readings, usagelog.Reading{Subject: s, Counters: m.live[s]})
	}
	m.append(t, readings, true)
}

func (m *machine) append(t *rapid.T, readings []usagelog.Reading, all bool) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute)
	m.model.turn++
	a := appended{turn: m.model.turn, at: m.now, all: all, readings: readings}
	before, size, err := lastSegment(m.dir)
	require.NoError(t, err)
	if all {
		err = m.log.Append(t.Context(), m.now, readings)
	} else {
		err = m.log.AppendSome(t.Context(), m.now, readings)
	}
	require.NoError(t, err)
	a.path, a.end, err = lastSegment(m.dir)
	require.NoError(t, err)
	if a.path == before {
		a.begin = size
	}
	m.model.appends = append(m.model.appends, a)
}

func (m *machine) Reopen(t *rapid.T) {
	require.NoError(t, m.log.Close())
	require.Empty(t, m.open(t))
}

// Tear cuts the last Append short, or takes it away; in a segment that it began, the base with it.
func (m *machine) Tear(t *rapid.T) {
	path, end, err := lastSegment(m.dir)
	require.NoError(t, err)
	n := len(m.model.appends)
	if n == 0 || m.model.appends[n-1].path != path {
		t.Skip("nothing was appended since")
	}
	last := m.model.appends[n-1]
	size := rapid.Int64Range(last.begin, end-1).Draw(t, "size")
	require.NoError(t, m.log.Close())
	require.NoError(t, os.Truncate(path, size))
	m.model.cut(path, size)
	damage := m.open(t)
	if last.begin > 0 { // else it may have been cut off right behind the base
		require.Equal(t, size != last.begin, len(damage) == 1, "%v", damage)
	}
	require.Equal(t, size >= headerSize, exists(path))
}

// Check compares all that is known, and one span.
func (m *machine) Check(t *rapid.T) {
	reader, err := usagelog.OpenReader(m.dir)
	require.NoError(t, err)
	at := rapid.Custom(func(t *rapid.T) time.Time {
		at := m.now
		if n := len(m.model.appends); n > 0 {
			at = m.model.appends[rapid.IntRange(0, n-1).Draw(t, "append")].at
		}
		return at.Add(time.Duration(rapid.IntRange(-2000, 2000).Draw(t, "minutes")/10) * time.Minute)
	})
	from, to := at.Draw(t, "from"), at.Draw(t, "to")
	if to.Before(from) {
		from, to = to, from
	}
	spans := [][2]time.Time{{time.Time{}, noon.AddDate(100, 0, 0)}, {from, to.Add(1)}}
	for _, asked := range []asker{m.log, reader} {
		for _, s := range spans {
			got, err := asked.Usage(t.Context(), s[0], s[1], nil)
			require.NoError(t, err)
			require.Empty(t, got.Damage)
			if want := m.model.usage(s[0], s[1]); !equal(want, sums(got)) {
				t.Fatalf("%T: from %v to %v: %v, want %v", asked, s[0], s[1], sums(got), want)
			}
			if m.model.steady() {
				require.Equal(t, m.model.span(s[0], s[1]), got.Span, "from %v to %v", s[0], s[1])
			}
			require.False(t, got.Span.To.After(s[1]))
		}
	}
	if len(m.order) > 0 {
		m.checkSeries(t, m.pick(t), from, to.Add(1))
	}
}

func (m *machine) checkSeries(t *rapid.T, subject usagelog.Subject, from, to time.Time) {
	bounds, err := usagelog.Steps(from, to, 3*time.Hour)
	require.NoError(t, err)
	series, err := m.log.Series(t.Context(), subject, bounds)
	require.NoError(t, err)
	require.Len(t, series.Steps, len(bounds)-1)
	for i, step := range series.Steps {
		require.Equal(t, m.model.usage(bounds[i], bounds[i+1])[subject], step.Counters)
	}
}

// TestLogIsItsModel compares a log with the sums of all that was appended, over clocks that jump, crashes and reopening.
func TestLogIsItsModel(t *testing.T) {
	dirs, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		dir := filepath.Join(dirs, strconv.Itoa(runs))
		m := &machine{dir: dir, model: newModel(), now: noon, live: make(map[usagelog.Subject]usagelog.Counters)}
		m.setBack = rapid.Bool().Draw(rt, "clock may be set back")
		require.Empty(rt, m.open(rt))
		defer func() { require.NoError(rt, errors.Join(m.log.Close(), os.RemoveAll(dir))) }()
		rt.Repeat(map[string]func(*rapid.T){
			"add": m.Add, "traffic": m.Traffic, "more traffic": m.Traffic, "restore": m.Restore, "remove": m.Remove,
			"clock": m.Clock, "append": m.Append, "append again": m.Append, "reopen": m.Reopen, "tear": m.Tear,
			"": m.Check,
		})
	})
}
