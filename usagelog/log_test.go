package usagelog_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
)

func TestAnHourAndADay(t *testing.T) {
	l := open(t, t.TempDir(), usagelog.Options{})
	old, account := peer(1), usagelog.Subject{Kind: usagelog.Account, Name: "acme", Sequence: 2}
	begin := noon.Add(-12 * time.Hour)
	appendAll(t, l, begin, reading(old, 1_000_000, 5000)) // used before the log began: not known
	for quarter := 1; quarter <= 4*36; quarter++ {
		n := uint64(quarter)
		appendAll(t, l, begin.Add(time.Duration(quarter)*15*time.Minute),
			reading(old, 1_000_000+10*n, 5000), reading(account, 7*n, n))
	}
	hour, err := l.Usage(t.Context(), noon, noon.Add(time.Hour), nil)
	require.NoError(t, err)
	span := usagelog.Span{From: noon, To: noon.Add(time.Hour)}
	require.Equal(t, usagelog.Summary{Span: span, Usages: []usagelog.Usage{
		{Subject: old, Span: span, Counters: usagelog.Counters{Download: 40}},
		{Subject: account, Span: span, Counters: usagelog.Counters{Download: 28, Upload: 4}},
	}}, hour)

	day, err := l.Usage(t.Context(), begin, begin.Add(24*time.Hour), func(s usagelog.Subject) bool { return s == account })
	require.NoError(t, err)
	require.Len(t, day.Usages, 1)
	require.Equal(t, usagelog.Counters{Download: 96 * 7, Upload: 96}, day.Usages[0].Counters)

	// Bounds between readings: what is really covered, is said.
	odd, err := l.Usage(t.Context(), noon.Add(7*time.Minute), noon.Add(67*time.Minute), nil)
	require.NoError(t, err)
	require.Equal(t, span, odd.Span)
	require.Equal(t, hour.Usages, odd.Usages)

	bounds, err := usagelog.Steps(begin, begin.Add(48*time.Hour), 24*time.Hour)
	require.NoError(t, err)
	series, err := l.Series(t.Context(), old, bounds)
	require.NoError(t, err)
	last := begin.Add(36 * time.Hour)
	require.Equal(t, usagelog.Series{Subject: old, Steps: []usagelog.Step{
		{usagelog.Span{From: bounds[0], To: bounds[1]}, usagelog.Counters{Download: 960}},
		{usagelog.Span{From: bounds[1], To: last}, usagelog.Counters{Download: 480}},
	}}, series)

	none, err := l.Series(t.Context(), peer(77), []time.Time{last, last.Add(time.Hour), last.Add(2 * time.Hour)})
	require.NoError(t, err)
	for _, step := range none.Steps {
		require.Equal(t, last, step.Span.From)
		require.Equal(t, last, step.Span.To, "nothing is known")
		require.Zero(t, step.Counters)
	}
}

func TestSubjectsAndWhatIsKnownOfThem(t *testing.T) {
	l := open(t, t.TempDir(), usagelog.Options{})
	all := func() map[usagelog.Subject]usagelog.Counters {
		return used(t, l, time.Time{}, noon.AddDate(1, 0, 0))
	}
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	appendAll(t, l, at(0), reading(peer(1), 100, 100), reading(peer(5), 100, 100))
	appendAll(t, l, at(15), reading(peer(1), 110, 100), reading(peer(5), 100, 100), reading(peer(9), 30, 3))
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{
		peer(1): {Download: 10}, peer(9): {Download: 30, Upload: 3}, // 9 is new
	}, all())

	// 1 is removed with a last reading, and comes again with the same name; 5 comes late, 3 was never read before.
	require.NoError(t, l.AppendSome(t.Context(), at(20), []usagelog.Reading{reading(peer(1), 115, 100)}))
	appendAll(t, l, at(30), reading(peer(9), 31, 3), reading(peer(13), 8, 8), reading(peer(3), 999, 999))
	require.Equal(t, peer(9).Name, peer(13).Name)
	appendAll(t, l, at(45), reading(peer(9), 31, 3), reading(peer(13), 9, 8), reading(peer(3), 1000, 999))
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{
		peer(1): {Download: 15}, peer(9): {Download: 31, Upload: 3}, peer(13): {Download: 9, Upload: 8}, peer(3): {Download: 1},
	}, all())

	s, err := l.Usage(t.Context(), at(-60), at(60), nil)
	require.NoError(t, err)
	for _, u := range s.Usages {
		from := at(0)
		if u.Subject == peer(3) {
			from = at(30)
		}
		require.Equal(t, usagelog.Span{From: from, To: at(45)}, u.Span, u.Subject.String())
	}

	// A counter that falls back counts again where it was.
	appendAll(t, l, at(60), reading(peer(9), 11, 3))
	appendAll(t, l, at(75), reading(peer(9), 30, 3), reading(peer(9), 33, 3), reading(peer(9), 29, 3))
	require.Equal(t, usagelog.Counters{Download: 33, Upload: 3}, all()[peer(9)])

	appendAll(t, l, at(90), reading(peer(9), math.MaxUint64, 3))
	require.Equal(t, usagelog.Counters{Download: math.MaxUint64, Upload: 3}, all()[peer(9)])
}

func TestNewSubjectOnAnotherDayIsKnownWhole(t *testing.T) {
	l := open(t, t.TempDir(), usagelog.Options{})
	appendAll(t, l, noon, reading(peer(1), 100, 100))
	appendAll(t, l, noon.AddDate(0, 0, 1), reading(peer(1), 100, 100), reading(peer(2), 20, 10))
	midnight := noon.Add(12 * time.Hour)
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{peer(2): {Download: 20, Upload: 10}},
		used(t, l, midnight, midnight.AddDate(0, 0, 1)))
}

func TestClockThatIsSetBackCountsOnce(t *testing.T) {
	l := open(t, t.TempDir(), usagelog.Options{})
	appendAll(t, l, noon)
	appendAll(t, l, noon.Add(time.Hour), reading(peer(1), 10, 0))
	appendAll(t, l, noon.AddDate(4, 0, 0), reading(peer(1), 30, 0))
	appendAll(t, l, noon.Add(2*time.Hour), reading(peer(1), 70, 0))
	appendAll(t, l, noon.Add(30*time.Minute), reading(peer(1), 150, 0))
	appendAll(t, l, noon.Add(3*time.Hour), reading(peer(1), 310, 0))
	for _, c := range []struct {
		from, to time.Time
		want     uint64
	}{
		{noon, noon.Add(time.Hour), 10 + 80},
		{noon.Add(time.Hour), noon.Add(2 * time.Hour), 40},
		{noon.Add(2 * time.Hour), noon.Add(3 * time.Hour), 160},
		{noon.AddDate(3, 0, 0), noon.AddDate(5, 0, 0), 20},
		{time.Time{}, noon.AddDate(5, 0, 0), 310},
	} {
		require.Equal(t, c.want, used(t, l, c.from, c.to)[peer(1)].Download, "%v to %v", c.from, c.to)
	}
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	opts := usagelog.Options{Retention: 72 * time.Hour, NoSync: true}
	l := open(t, dir, opts)
	appendAll(t, l, noon)
	for d := range 10 {
		for h := range 24 {
			n := uint64(d*24 + h + 1)
			appendAll(t, l, noon.AddDate(0, 0, d).Add(time.Duration(h)*time.Hour-11*time.Hour), reading(peer(1), n*n, n))
		}
	}
	var days []string
	for _, path := range segmentsOf(t, dir) {
		days = append(days, filepath.Base(path)[len("0000000017-"):len("0000000017-2026-11-21")])
	}
	require.Equal(t, []string{"2026-11-27", "2026-11-28", "2026-11-29", "2026-11-30", "2026-12-01"}, days)
	last := noon.AddDate(0, 0, 9).Add(12 * time.Hour)
	require.Equal(t, usagelog.Counters{Download: 240*240 - 168*168, Upload: 72},
		used(t, l, last.Add(-72*time.Hour), last)[peer(1)])

	// What is not retained is not known: the oldest base is where it begins.
	s, err := l.Usage(t.Context(), noon.AddDate(0, 0, -1), last, nil)
	require.NoError(t, err)
	require.Equal(t, noon.AddDate(0, 0, 5).Add(11*time.Hour), s.Span.From)
	require.Equal(t, uint64(240-143), s.Usages[0].Counters.Upload)

	// A shorter retention holds from Open on.
	require.NoError(t, l.Close())
	opts.Retention = usagelog.MinRetention
	open(t, dir, opts)
	require.Len(t, segmentsOf(t, dir), 3)
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such file modes")
	}
	dir := filepath.Join(t.TempDir(), "usage")
	l := open(t, dir, usagelog.Options{})
	appendAll(t, l, noon)
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		want := os.FileMode(0o600)
		if path == dir {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), path)
		return err
	}))
}

func TestWhatIsInvalidIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, retention := range []time.Duration{-1, time.Hour, usagelog.MinRetention - 1, usagelog.MaxRetention + 1} {
		_, err := usagelog.Open(dir, usagelog.Options{Retention: retention})
		require.ErrorIs(t, err, usagelog.ErrInvalid)
	}
	l := open(t, dir, usagelog.Options{})
	for _, s := range []usagelog.Subject{
		{Name: "x", Sequence: 1}, {Kind: 3, Name: "x"}, {Kind: usagelog.Peer}, {Kind: usagelog.Peer, Name: "\xff"},
		{Kind: usagelog.Peer, Name: strings.Repeat("x", usagelog.MaxNameLen+1)},
		{Kind: usagelog.Peer, Name: "x", Sequence: math.MaxUint64},
	} {
		err := l.Append(t.Context(), noon, []usagelog.Reading{reading(peer(1), 1, 1), {Subject: s}})
		require.ErrorIs(t, err, usagelog.ErrInvalid)
		require.ErrorContains(t, err, dir)
	}
	for _, at := range []time.Time{{}, time.Unix(-1, 0), noon.AddDate(500, 0, 0)} {
		require.ErrorIs(t, l.Append(t.Context(), at, nil), usagelog.ErrInvalid)
	}
	require.Empty(t, segmentsOf(t, dir), "nothing of what was refused is there")

	_, err := l.Usage(t.Context(), noon, noon, nil)
	require.ErrorIs(t, err, usagelog.ErrInvalid)
	_, err = l.Series(t.Context(), peer(1), []time.Time{noon})
	require.ErrorIs(t, err, usagelog.ErrInvalid)
	_, err = l.Series(t.Context(), usagelog.Subject{}, []time.Time{noon, noon.Add(1)})
	require.ErrorIs(t, err, usagelog.ErrInvalid)
	for _, step := range []time.Duration{0, -1, time.Millisecond} {
		_, err = usagelog.Steps(noon, noon.Add(time.Hour), step)
		require.ErrorIs(t, err, usagelog.ErrInvalid)
	}
	_, err = usagelog.OpenReader(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestClosedAndCancelled(t *testing.T) {
	dir := t.TempDir()
	l, err := usagelog.Open(dir, usagelog.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, l.Append(ctx, noon, nil), context.Canceled)
	require.Empty(t, segmentsOf(t, dir))
	appendAll(t, l, noon)
	_, err = l.Usage(ctx, noon, noon.Add(1), nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Append(t.Context(), noon, nil), usagelog.ErrClosed)
	_, err = l.Usage(t.Context(), noon, noon.Add(1), nil)
	require.ErrorIs(t, err, usagelog.ErrClosed)
}
