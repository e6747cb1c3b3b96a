package usagelog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/usagelog"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// noon is in the middle of a day.
var noon = time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)

func peer(sequence uint64) usagelog.Subject {
	return usagelog.Subject{Kind: usagelog.Peer, Name: fmt.Sprintf("peer-%d", sequence%4), Sequence: sequence}
}

func reading(s usagelog.Subject, download, upload uint64) usagelog.Reading {
	return usagelog.Reading{Subject: s, Counters: usagelog.Counters{Download: download, Upload: upload}}
}

func open(t *testing.T, dir string, opts usagelog.Options) *usagelog.Log {
	t.Helper()
	l, err := usagelog.Open(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func appendAll(t *testing.T, l *usagelog.Log, at time.Time, readings ...usagelog.Reading) {
	t.Helper()
	require.NoError(t, l.Append(t.Context(), at, readings))
}

// used is what a log, or a reader, says of a span; it must have found no damage.
func used(t *testing.T, l asker, from, to time.Time) map[usagelog.Subject]usagelog.Counters {
	t.Helper()
	s, err := l.Usage(t.Context(), from, to, nil)
	require.NoError(t, err)
	require.Empty(t, s.Damage)
	return sums(s)
}

// segments are the paths of a log's segments in order.
func segments(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.usage"))
	slices.Sort(paths)
	return paths, err
}

func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := segments(dir)
	require.NoError(t, err)
	return paths
}

// lastSegment is the path of the last segment, and its size; "" and 0 if there is none.
func lastSegment(dir string) (string, int64, error) {
	paths, err := segments(dir)
	if err != nil || len(paths) == 0 {
		return "", 0, err
	}
	path := paths[len(paths)-1]
	info, err := os.Stat(path)
	return path, info.Size(), err
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// copyDir copies the segments of a log to a new directory.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, path := range segmentsOf(t, dir) {
		write(t, filepath.Join(to, filepath.Base(path)), read(t, path))
	}
	return to
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
