package usagelog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
)

// TestPeerThatIsGivenAnotherKey has peers that the log knew when its day began, and that came later, go on under another name.
func TestPeerThatIsGivenAnotherKey(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	named := func(name string, sequence uint64) usagelog.Subject {
		return usagelog.Subject{Kind: usagelog.Peer, Name: name, Sequence: sequence}
	}
	appendAll(t, l, noon, reading(named("old", 1), 500, 0), reading(named("other", 2), 0, 0))
	appendAll(t, l, noon.Add(time.Hour), reading(named("old", 1), 600, 0), reading(named("young", 3), 70, 0))
	require.NoError(t, l.AppendSome(t.Context(), noon.Add(2*time.Hour), []usagelog.Reading{
		reading(named("old", 1), 610, 0), reading(named("new", 1), 0, 0), reading(named("young", 3), 80, 0), reading(named("newer", 3), 0, 0),
	}))
	appendAll(t, l, noon.Add(3*time.Hour), reading(named("new", 1), 5, 0), reading(named("newer", 3), 2, 0))
	appendAll(t, l, noon.Add(24*time.Hour), reading(named("new", 1), 6, 0), reading(named("newer", 3), 3, 0), reading(named("old", 4), 9, 0))

	counters := func(n uint64) usagelog.Counters { return usagelog.Counters{Download: n} }
	s, err := l.Usage(t.Context(), noon, noon.AddDate(0, 0, 2), nil)
	require.NoError(t, err)
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{
		named("old", 1): counters(110), named("new", 1): counters(6), named("young", 3): counters(80), named("newer", 3): counters(3),
		named("old", 4): counters(9),
	}, sums(s))
	of := func(kind usagelog.Kind, name string) map[usagelog.Subject]usagelog.Counters {
		return sums(usagelog.Summary{Usages: s.Named(kind, name)})
	}
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{named("young", 3): counters(80), named("newer", 3): counters(3)},
		of(usagelog.Peer, "newer"))
	require.Equal(t, map[usagelog.Subject]usagelog.Counters{
		named("old", 1): counters(110), named("new", 1): counters(6), named("old", 4): counters(9),
	}, of(usagelog.Peer, "old"))
	require.Empty(t, of(usagelog.Account, "old"))
	require.Empty(t, of(usagelog.Peer, "nobody"))
}

// TestSequence asks for the highest number, also of a subject that is gone, and of one that was appended alone.
func TestSequence(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	require.Zero(t, l.Sequence())
	appendAll(t, l, noon, reading(peer(7), 1, 0), reading(peer(3), 1, 0))
	appendAll(t, l, noon.Add(time.Hour), reading(peer(3), 2, 0))
	require.Equal(t, uint64(7), l.Sequence())
	appendAll(t, l, noon.AddDate(0, 0, 1), reading(peer(3), 3, 0))
	for _, want := range []uint64{7, 9} {
		require.NoError(t, l.Close())
		l = open(t, dir, options())
		require.Equal(t, want, l.Sequence())
		require.NoError(t, l.AppendSome(t.Context(), noon.AddDate(0, 0, 1), []usagelog.Reading{reading(peer(9), 1, 0)}))
	}
}
