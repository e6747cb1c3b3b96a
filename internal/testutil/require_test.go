package testutil

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// recorder is a test that keeps how it ended.
type recorder struct {
	testing.TB
	failed, skipped string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skip(args ...any) {
	r.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

// record runs f as a test function runs, and reports whether it came to its end.
func record(tb testing.TB, f func(testing.TB)) (r *recorder, finished bool) {
	r = &recorder{TB: tb}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
		finished = true
	}()
	<-done
	return r, finished
}

func TestRequire(t *testing.T) {
	lack := errors.New("needs a moon")
	for _, c := range []struct {
		name            string
		ci              string
		lack            error
		finished        bool
		failed, skipped string
	}{
		{name: "there", finished: true},
		{name: "there in CI", ci: "true", finished: true},
		{name: "missing", lack: lack, skipped: "needs a moon"},
		{name: "missing, CI said to be off", ci: "false", lack: lack, skipped: "needs a moon"},
		{name: "missing in CI", ci: "true", lack: lack, failed: "CI must have what this test needs: needs a moon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(ciVariable, c.ci)
			got, finished := record(t, func(tb testing.TB) { Require(tb, c.lack) })
			require.Equal(t, c.finished, finished)
			require.Equal(t, c.failed, got.failed)
			require.Equal(t, c.skipped, got.skipped)
		})
	}
}

func TestAsRoot(t *testing.T) {
	require.NoError(t, asRoot(0))
	require.EqualError(t, asRoot(1000), "needs root, runs as user 1000")
	require.Error(t, asRoot(-1))
}

func TestRequireTool(t *testing.T) {
	t.Setenv(ciVariable, "")
	var path string
	_, finished := record(t, func(tb testing.TB) { path = RequireTool(tb, "go", "golang-go") })
	require.True(t, finished)
	want, err := exec.LookPath("go")
	require.NoError(t, err)
	require.Equal(t, want, path)

	got, finished := record(t, func(tb testing.TB) { RequireTool(tb, "no-such-program", "no-such-package") })
	require.False(t, finished)
	require.Contains(t, got.skipped, "needs the program no-such-program, which Debian has in package no-such-package")
}
