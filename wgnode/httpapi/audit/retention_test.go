package audit_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// TestRetention lets 40 days pass with a change a day, and then 40 days of rest: no record is gone early, none stays on, and
// what is left is whole.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		opts := audit.Options{Retention: 10 * day, SegmentAge: day}
		l := open(t, dir, opts)
		look := func() (oldest time.Time) {
			t.Helper()
			verify(t, dir, audit.VerifyOptions{})
			for _, r := range records(t, dir) {
				if r.Kind == audit.KindEvent {
					return r.Time
				}
			}
			return time.Time{}
		}
		for d := range 40 {
			require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload"}))
			sleepPast(day)
			age := time.Since(look())
			if d >= 12 {
				require.GreaterOrEqual(t, age, 10*day)
			}
			require.LessOrEqual(t, age, 12*day+2*audit.RefusalWindow)
		}
		require.NoError(t, l.Close())
		l = open(t, dir, opts)
		require.Empty(t, l.Found())
		sleepPast(13 * day)
		require.Zero(t, look(), "nobody changes anything, and all is deleted that is old")
		require.NoError(t, l.Close())
	})
	list := segments(t, dir)
	require.Less(t, len(list), 14)
	require.NotEqual(t, "audit-0000000001.jsonl", filepath.Base(list[0]))

	// What is deleted by anybody else is found.
	copied := filepath.Join(t.TempDir(), "copy")
	copyLog(t, dir, copied)
	for i, path := range segments(t, copied)[:3] {
		remove(t, path)
		require.True(t, found(t, copied, audit.VerifyOptions{}), "%d segments removed", i+1)
	}
}

// A clock that is ahead for less than the age of a segment deletes nothing.
func TestClockAheadDeletesNothing(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{Retention: audit.MinRetention})
	require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload"}))
	require.NoError(t, l.AppendAt(time.Now().AddDate(5, 0, 0)))
	require.NoError(t, l.AppendAt(time.Now()))
	require.NoError(t, l.AppendAt(time.Now()))
	require.Len(t, segments(t, dir), 3)
	require.NoError(t, l.Close())
	verify(t, dir, audit.VerifyOptions{})
}
