package usagelog_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/usagelog"
)

// hurt damages a log in one place.
func hurt(t *rapid.T, dir string) {
	paths, err := segments(dir)
	require.NoError(t, err)
	if len(paths) == 0 {
		return
	}
	path := rapid.SampledFrom(paths).Draw(t, "path")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	from := rapid.IntRange(0, len(data)).Draw(t, "from")
	to := rapid.IntRange(from, min(len(data), from+200)).Draw(t, "to")
	switch rapid.SampledFrom([]string{"flip", "zero", "take out", "repeat", "cut", "remove"}).Draw(t, "damage") {
	case "flip":
		for i := from; i < to; i++ {
			data[i] ^= 1 << (i % 8)
		}
	case "zero":
		clear(data[from:to])
	case "take out":
		data = slices.Delete(data, from, to)
	case "repeat":
		data = slices.Insert(data, to, slices.Clone(data[from:to])...)
	case "cut":
		data = data[:from]
	case "remove":
		require.NoError(t, os.Remove(path))
		return
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// noMore fails if spans that follow each other have more usage together than was appended.
func (m *machine) noMore(t *rapid.T, l asker, bounds []time.Time) {
	most := m.model.usage(time.Time{}, noon.AddDate(100, 0, 0))
	together := make(map[usagelog.Subject]usagelog.Counters)
	for i := range bounds[1:] {
		s, err := l.Usage(t.Context(), bounds[i], bounds[i+1], nil)
		require.NoError(t, err)
		for subject, c := range sums(s) {
			together[subject] = together[subject].Add(c)
		}
	}
	for s, c := range together {
		if c.Download > most[s].Download || c.Upload > most[s].Upload {
			t.Fatalf("%v: %v in all spans of %v, and %v were appended", s, c, bounds, most[s])
		}
	}
}

// TestDamageNeverAdds damages logs with all their history, and goes on with them: whatever is asked, no byte comes twice.
func TestDamageNeverAdds(t *testing.T) {
	dirs, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &machine{
			dir: filepath.Join(dirs, strconv.Itoa(runs)), model: newModel(), now: noon,
			live: make(map[usagelog.Subject]usagelog.Counters),
		}
		m.setBack = rapid.Bool().Draw(rt, "clock may be set back")
		m.open(rt)
		defer func() { require.NoError(rt, errors.Join(m.log.Close(), os.RemoveAll(m.dir))) }()
		m.Append(rt) // so that all usage is known
		live := func() {
			for range rapid.IntRange(0, 15).Draw(rt, "actions") {
				action := rapid.SampledFrom([]func(*rapid.T){m.Add, m.Traffic, m.Traffic, m.Remove, m.Clock, m.Append, m.Append})
				if act := action.Draw(rt, "action"); len(m.order) == 0 {
					m.Add(rt)
				} else {
					act(rt)
				}
			}
		}
		bounds := func() []time.Time {
			list := []time.Time{{}, noon.AddDate(100, 0, 0)}
			for range rapid.IntRange(0, 6).Draw(rt, "bounds") {
				list = append(list, noon.Add(time.Duration(rapid.IntRange(-100, 2000).Draw(rt, "quarters"))*15*time.Minute))
			}
			slices.SortFunc(list, time.Time.Compare)
			return slices.CompactFunc(list, time.Time.Equal)
		}
		for range 2 {
			live()
			require.NoError(rt, m.log.Close())
			for range rapid.IntRange(1, 4).Draw(rt, "damages") {
				hurt(rt, m.dir)
			}
			r, err := usagelog.OpenReader(m.dir)
			require.NoError(rt, err)
			m.noMore(rt, r, bounds())
			m.open(rt)
			m.noMore(rt, m.log, bounds())
		}
		live()
		m.noMore(rt, m.log, bounds())
	})
}
