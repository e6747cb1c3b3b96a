package usagelog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/usagelog"
)

// follower answers in the order of appending.
type follower interface {
	After(
		ctx context.Context, after usagelog.Position, limits usagelog.Limits, match func(usagelog.Subject) bool,
	) (usagelog.Chunk, error)
	Between(ctx context.Context, after, upTo usagelog.Position, match func(usagelog.Subject) bool) (usagelog.Chunk, error)
}

var (
	_ follower = (*usagelog.Log)(nil)
	_ follower = (*usagelog.Reader)(nil)
)

// reporter takes a log's usage chunk by chunk, as one that is started anew each time.
type reporter struct {
	position string
	taken    map[usagelog.Subject]usagelog.Counters
	lost     bool
}

func newReporter() *reporter { return &reporter{taken: make(map[usagelog.Subject]usagelog.Counters)} }

// where is the position, as it was kept.
func (r *reporter) where(t require.TestingT) (p usagelog.Position) {
	require.NoError(t, p.UnmarshalText([]byte(r.position)))
	return p
}

// take takes one chunk, and sees to it that the same range has it again.
func (r *reporter) take(t *rapid.T, l follower, limits usagelog.Limits) (more bool) {
	at := r.where(t)
	c, err := l.After(t.Context(), at, limits, nil)
	require.NoError(t, err)
	if limits.Subjects > 0 {
		require.LessOrEqual(t, len(c.Usages), limits.Subjects)
	}
	again, err := l.Between(t.Context(), at, c.Next, nil)
	require.NoError(t, err)
	require.Equal(t, c.Usages, again.Usages, "between %q and %q", at, c.Next)
	require.Equal(t, c.Lost, again.Lost)
	require.Equal(t, c.Span, again.Span)
	require.False(t, c.Span.To.Before(c.Span.From))
	if c.More {
		require.NotEqual(t, at, c.Next, "a chunk goes on")
	}
	text, err := c.Next.MarshalText()
	require.NoError(t, err)
	r.position, r.lost = string(text), r.lost || c.Lost
	for _, u := range c.Usages {
		r.taken[u.Subject] = r.taken[u.Subject].Add(u.Counters)
	}
	return c.More
}

// takeAll takes all that there is.
func (r *reporter) takeAll(t *rapid.T, l follower, limits usagelog.Limits) {
	for n := 0; r.take(t, l, limits); n++ {
		require.Less(t, n, 10_000, "it ends")
	}
}

func someLimits(t *rapid.T) usagelog.Limits {
	return usagelog.Limits{
		Subjects: rapid.IntRange(0, 3).Draw(t, "subjects"),
		Span:     time.Duration(rapid.IntRange(0, 3).Draw(t, "hours")) * time.Hour,
	}
}

// eitherOf is the log, or a reader of its directory.
func (m *machine) eitherOf(t *rapid.T) follower {
	if rapid.Bool().Draw(t, "log") {
		return m.log
	}
	r, err := usagelog.OpenReader(m.dir)
	require.NoError(t, err)
	return r
}

// newMachine is a machine in a directory of its own, and what ends it.
func newMachine(rt *rapid.T, dir string) (*machine, func()) {
	m := &machine{dir: dir, model: newModel(), now: noon, live: make(map[usagelog.Subject]usagelog.Counters)}
	m.setBack = rapid.Bool().Draw(rt, "clock may be set back")
	m.open(rt)
	return m, func() { require.NoError(rt, errors.Join(m.log.Close(), os.RemoveAll(dir))) }
}

// TestChunksAreTheWhole reports a log chunk by chunk while it grows, over clocks that jump, reopening, and crashes that cut off what
// was not reported: all chunks together are what was used, to the byte.
func TestChunksAreTheWhole(t *testing.T) {
	dirs, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m, end := newMachine(rt, filepath.Join(dirs, strconv.Itoa(runs)))
		defer end()
		r := newReporter()
		reported := 0 // of the Appends
		report := func(rt *rapid.T) {
			r.take(rt, m.eitherOf(rt), someLimits(rt))
			reported = len(m.model.appends)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add": m.Add, "traffic": m.Traffic, "more traffic": m.Traffic, "restore": m.Restore, "remove": m.Remove,
			"clock": m.Clock, "append": m.Append, "append again": m.Append, "reopen": m.Reopen, "report": report,
			"tear": func(rt *rapid.T) {
				if len(m.model.appends) <= reported {
					rt.Skip("all may have been reported")
				}
				m.Tear(rt)
			},
			"": func(rt *rapid.T) {
				whole := &reporter{position: r.position, taken: maps.Clone(r.taken)}
				whole.takeAll(rt, m.eitherOf(rt), someLimits(rt))
				require.False(rt, whole.lost)
				if want := m.model.usage(time.Time{}, noon.AddDate(100, 0, 0)); !equal(want, whole.taken) {
					rt.Fatalf("%v in all chunks, want %v", whole.taken, want)
				}
			},
		})
	})
}

// mostOf is what subjects used, by all that was ever appended.
func mostOf(rt *rapid.T, ever *model, r *reporter) {
	most := ever.usage(time.Time{}, noon.AddDate(100, 0, 0))
	for s, c := range r.taken {
		if c.Download > most[s].Download || c.Upload > most[s].Upload {
			rt.Fatalf("%v: %v was reported, and %v appended", s, c, most[s])
		}
	}
}

// TestChunksNeverAdd damages logs, tears off what was reported, takes segments out, and goes on: no byte is reported twice, and
// what is not, says so or was damaged.
func TestChunksNeverAdd(t *testing.T) {
	dirs, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m, end := newMachine(rt, filepath.Join(dirs, strconv.Itoa(runs)))
		defer end()
		m.Append(rt) // so that all usage is known
		r, ever := newReporter(), m.model
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 15).Draw(rt, "actions") {
				action := rapid.SampledFrom([]func(*rapid.T){
					m.Add, m.Traffic, m.Traffic, m.Remove, m.Clock, m.Append, m.Append,
					func(rt *rapid.T) {
						require.NoError(rt, m.log.Close())
						m.open(rt)
					},
					func(rt *rapid.T) { r.take(rt, m.eitherOf(rt), someLimits(rt)) },
				})
				if act := action.Draw(rt, "action"); len(m.order) == 0 {
					m.Add(rt)
				} else {
					act(rt)
				}
			}
			if rapid.Bool().Draw(rt, "report all") {
				r.takeAll(rt, m.log, someLimits(rt))
			}
			mostOf(rt, ever, r)
			require.NoError(rt, m.log.Close())
			for range rapid.IntRange(0, 3).Draw(rt, "damages") {
				hurt(rt, m.dir)
			}
			m.open(rt)
			r.takeAll(rt, m.log, someLimits(rt))
			mostOf(rt, ever, r)
			m.Append(rt)
			r.takeAll(rt, m.eitherOf(rt), someLimits(rt))
			mostOf(rt, ever, r)
		}
	})
}

// TestChunksBeyondRetention reports seldom, so that segments go before they were reported: that is said, and what is left
// is reported once.
func TestChunksBeyondRetention(t *testing.T) {
	for _, days := range []int{2, 9} {
		t.Run(fmt.Sprint(days), func(t *testing.T) {
			l := open(t, t.TempDir(), usagelog.Options{NoSync: true, Retention: 48 * time.Hour})
			var at usagelog.Position
			var sum uint64
			take := func() (lost bool) {
				for more := true; more; {
					c, err := l.After(t.Context(), at, usagelog.Limits{Subjects: 1}, nil)
					require.NoError(t, err)
					for _, u := range c.Usages {
						sum += u.Counters.Download
					}
					at, more, lost = c.Next, c.More, lost || c.Lost
				}
				return lost
			}
			appendAll(t, l, noon, reading(peer(1), 1000, 0), reading(peer(2), 2000, 0))
			require.False(t, take())
			require.Zero(t, sum)
			for i := range uint64(days * 4) {
				appendAll(t, l, noon.Add(time.Duration(i+1)*6*time.Hour), reading(peer(1), 1001+i, 0), reading(peer(2), 2001+i, 0))
			}
			whole := uint64(days * 4 * 2)
			if lost := take(); days > 5 {
				require.True(t, lost)
				require.Less(t, sum, whole)
				require.Greater(t, sum, uint64(2*4*2)) // those of the retention, of both
			} else {
				require.False(t, lost)
				require.Equal(t, whole, sum)
			}
			require.False(t, take(), "it is said once")
			before := sum
			last := noon.Add(time.Duration(days*4)*6*time.Hour + time.Minute)
			appendAll(t, l, last, reading(peer(1), 1001+whole/2, 0), reading(peer(2), 2000+whole/2, 0))
			require.False(t, take())
			require.Equal(t, before+1+1-1, sum)
		})
	}
}

// TestChunksOfManyFrames has readings of more subjects than a frame holds, in a base too.
func TestChunksOfManyFrames(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	const many = 3000
	for i := range uint64(4) {
		var readings []usagelog.Reading
		for n := range uint64(many) {
			s := usagelog.Subject{Kind: usagelog.Account, Name: fmt.Sprintf("%0100d", n), Sequence: n}
			readings = append(readings, reading(s, 1000+i, n))
		}
		appendAll(t, l, noon.Add(time.Duration(i)*7*time.Hour), readings...)
	}
	require.Len(t, segmentsOf(t, dir), 2)
	var at usagelog.Position
	sums := make(map[usagelog.Subject]uint64)
	chunks := 0
	for more := true; more; chunks++ {
		c, err := l.After(t.Context(), at, usagelog.Limits{Subjects: 700}, nil)
		require.NoError(t, err)
		require.LessOrEqual(t, len(c.Usages), 700)
		for _, u := range c.Usages {
			sums[u.Subject] += u.Counters.Download
		}
		at, more = c.Next, c.More
	}
	require.Len(t, sums, many)
	for s, sum := range sums {
		require.Equal(t, uint64(3), sum, s.String())
	}
	require.Greater(t, chunks, many/700)

	only := usagelog.Subject{Kind: usagelog.Account, Name: fmt.Sprintf("%0100d", 5), Sequence: 5}
	c, err := l.After(t.Context(), usagelog.Position{}, usagelog.Limits{}, func(s usagelog.Subject) bool { return s == only })
	require.NoError(t, err)
	require.False(t, c.More)
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{only: {Download: 3}}, map[usagelog.Subject]usagelog.Counters{
		c.Usages[0].Subject: c.Usages[0].Counters,
	})
	require.Equal(t, usagelog.Span{From: noon, To: noon.Add(21 * time.Hour)}, c.Span)
}

// TestPositionAsText reads what was written, and nothing else.
func TestPositionAsText(t *testing.T) {
	for _, bad := range []string{"x", "1", "1.1.1.1.1.1", "2.1.16.0.00000000.0", "1.1.16.0.00000000.7", "1.-1.16.0.00000000.0", "1.01.16.0.00000000.0"} {
		var p usagelog.Position
		require.ErrorIs(t, p.UnmarshalText([]byte(bad)), usagelog.ErrInvalid, bad)
		require.True(t, p.IsZero())
	}
	l := open(t, t.TempDir(), options())
	_, err := l.After(t.Context(), usagelog.Position{}, usagelog.Limits{Subjects: -1}, nil)
	require.ErrorIs(t, err, usagelog.ErrInvalid)
	appendAll(t, l, noon, reading(peer(1), 1, 1))
	c, err := l.After(t.Context(), usagelog.Position{}, usagelog.Limits{}, nil)
	require.NoError(t, err)
	var p usagelog.Position
	require.NoError(t, p.UnmarshalText([]byte(c.Next.String())))
	require.Equal(t, c.Next, p)
	_, err = l.Between(t.Context(), p, usagelog.Position{}, nil)
	require.ErrorIs(t, err, usagelog.ErrInvalid)
}
