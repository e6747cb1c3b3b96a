package usagelog_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
)

// fleet is 10,000 peers with names as long as public keys, which are read every quarter of an hour.
type fleet struct {
	readings []usagelog.Reading
	rand     *rand.Rand
}

func newFleet(n int) *fleet {
	f := &fleet{rand: rand.New(rand.NewPCG(1, 2))}
	for i := range n {
		s := usagelog.Subject{Kind: usagelog.Peer, Name: fmt.Sprintf("%043d=", i), Sequence: uint64(i + 1)}
		f.readings = append(f.readings, reading(s, f.rand.Uint64N(1<<40), f.rand.Uint64N(1<<36)))
	}
	return f
}

// use lets a share of the peers, in percent, move up to 200 MB.
func (f *fleet) use(percent int) {
	for i := range f.readings {
		if f.rand.IntN(100) < percent {
			c := &f.readings[i].Counters
			*c = c.Add(usagelog.Counters{Download: f.rand.Uint64N(200e6), Upload: f.rand.Uint64N(20e6)})
		}
	}
}

// month appends days of 96 readings.
func (f *fleet) month(b *testing.B, dir string, days, percent int) *usagelog.Log {
	b.Helper()
	l, err := usagelog.Open(dir, usagelog.Options{NoSync: true})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	midnight := noon.Add(-12 * time.Hour)
	for i := range days * 96 {
		f.use(percent)
		require.NoError(b, l.Append(b.Context(), midnight.Add(time.Duration(i)*15*time.Minute), f.readings))
	}
	return l
}

func sizeOf(b *testing.B, dir string) (size float64) {
	b.Helper()
	paths, err := segments(dir)
	require.NoError(b, err)
	for _, path := range paths {
		info, err := os.Stat(path)
		require.NoError(b, err)
		size += float64(info.Size())
	}
	return size
}

// BenchmarkAppend appends the readings of 10,000 peers, of which a share have changed, in a segment that is there.
func BenchmarkAppend(b *testing.B) {
	for _, percent := range []int{0, 10, 100} {
		for _, noSync := range []bool{false, true} {
			b.Run(fmt.Sprintf("changed=%d%%/sync=%v", percent, !noSync), func(b *testing.B) {
				dir := b.TempDir()
				l, err := usagelog.Open(dir, usagelog.Options{NoSync: noSync})
				require.NoError(b, err)
				defer l.Close()
				f := newFleet(10_000)
				at := noon.Add(-12 * time.Hour)
				require.NoError(b, l.Append(b.Context(), at, f.readings))
				before, changed := sizeOf(b, dir), max(1, 100*percent)
				for b.Loop() {
					b.StopTimer()
					f.use(percent)
					at = at.Add(time.Millisecond)
					b.StartTimer()
					if err := l.Append(b.Context(), at, f.readings); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((sizeOf(b, dir)-before)/float64(b.N*changed), "B/reading")
			})
		}
	}
}

// BenchmarkNewDay appends the readings of 10,000 peers as the first of a day.
func BenchmarkNewDay(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "usage")
	l, err := usagelog.Open(dir, usagelog.Options{Retention: usagelog.MinRetention})
	require.NoError(b, err)
	defer l.Close()
	f := newFleet(10_000)
	at := noon
	for b.Loop() {
		at = at.AddDate(0, 0, 1)
		if err := l.Append(b.Context(), at, f.readings); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(sizeOf(b, dir)/float64(len(segmentsIn(b, dir))*10_000), "B/peer")
}

func segmentsIn(b *testing.B, dir string) []string {
	b.Helper()
	paths, err := segments(dir)
	require.NoError(b, err)
	return paths
}

// BenchmarkMonth reads a log of 10,000 peers, all of which used something in each of 96 readings on 31 days.
func BenchmarkMonth(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "usage")
	f := newFleet(10_000)
	l := f.month(b, dir, 31, 100)
	begin := noon.Add(-12 * time.Hour)
	b.Logf("%.0f MB on disk, %.1f B per reading", sizeOf(b, dir)/1e6, sizeOf(b, dir)/(31*96*10_000))
	for _, c := range []struct {
		name     string
		from, to time.Time
		subjects int
	}{
		{"hour", begin.AddDate(0, 0, 15).Add(6 * time.Hour), begin.AddDate(0, 0, 15).Add(7 * time.Hour), 10_000},
		{"day", begin.AddDate(0, 0, 15), begin.AddDate(0, 0, 16), 10_000},
		{"month", begin, begin.AddDate(0, 0, 31), 10_000},
	} {
		b.Run("usage/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := l.Usage(b.Context(), c.from, c.to, nil)
				if err != nil || len(s.Usages) != c.subjects {
					b.Fatal(len(s.Usages), err)
				}
			}
		})
	}
	bounds, err := usagelog.Steps(begin, begin.AddDate(0, 0, 31), time.Hour)
	require.NoError(b, err)
	b.Run("series/month of hours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, err := l.Series(b.Context(), f.readings[5000].Subject, bounds)
			if err != nil || s.Steps[100].Counters.Download == 0 {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		require.NoError(b, l.Close())
		for b.Loop() {
			again, err := usagelog.Open(dir, usagelog.Options{NoSync: true})
			if err != nil {
				b.Fatal(err)
			}
			if err := again.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
