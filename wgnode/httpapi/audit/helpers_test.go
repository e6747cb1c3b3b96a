package audit_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t require.TestingT, dir string, opts audit.Options) *audit.Log {
	l, err := audit.Open(dir, opts)
	require.NoError(t, err)
	return l
}

// verify returns what is said of a log of which nothing is wrong.
func verify(t require.TestingT, dir string, opts audit.VerifyOptions) audit.Report {
	r, err := audit.Verify(dir, opts)
	require.NoError(t, err)
	require.Empty(t, r.Findings)
	return r
}

// segments returns the paths of a log's segments in order.
func segments(t require.TestingT, dir string) []string {
	list, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	require.NoError(t, err)
	return list
}

func read(t require.TestingT, path string) []byte {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func write(t require.TestingT, path string, data []byte) {
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// linesOf returns the lines of a file, each with its end.
func linesOf(t require.TestingT, path string) [][]byte {
	return bytes.SplitAfter(bytes.TrimSuffix(read(t, path), []byte("\n")), []byte("\n"))
}

// records returns all records of a log.
func records(t require.TestingT, dir string) []audit.Record {
	var all []audit.Record
	require.NoError(t, audit.Read(dir, func(r audit.Record) error {
		all = append(all, r)
		return nil
	}))
	return all
}

// copyLog copies a log's files to a new directory.
func copyLog(t require.TestingT, from, to string) {
	require.NoError(t, os.RemoveAll(to))
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}

const (
	waitFor = 10 * time.Second
	tick    = 5 * time.Millisecond
)

// sleepPast sleeps in a bubble until all that was due then is done.
func sleepPast(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// lockedBuffer holds what is logged.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *lockedBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func remove(t require.TestingT, path string) { require.NoError(t, os.Remove(path)) }
