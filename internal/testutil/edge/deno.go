package edge

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
)

// Example is the folder examples/supabase.
func Example(tb testing.TB) string {
	tb.Helper()
	_, file, _, ok := runtime.Caller(0)
	require.True(tb, ok)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "examples", "supabase")
}

// Deno returns the path of a Deno: the one that "make deno" has put under bin, or the host's. The test ends as with
// [testutil.Require] if there is none.
func Deno(tb testing.TB) string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(Example(tb), "..", "..", "bin", "deno-*", "node_modules", "@deno", "*", "deno"))
	require.NoError(tb, err)
	if len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath("deno")
	if err != nil {
		err = errors.New("needs Deno, which this installs: make deno")
	}
	testutil.Require(tb, err)
	return path
}

// Command prepares a Deno to run a subcommand in the folder harness, whose node_modules hold what the functions import. It reads no
// lock file, asks nobody, fetches nothing, and keeps what it has compiled in cache for the next one, if that is not empty.
func Command(tb testing.TB, cache, subcommand string, args ...string) *exec.Cmd {
	tb.Helper()
	deno, harness := Deno(tb), filepath.Join(Example(tb), "harness")
	if _, err := os.Stat(filepath.Join(harness, "node_modules", "postgres")); err != nil {
		testutil.Require(tb, errors.New("needs what the functions import, which this installs: make deno"))
	}
	if cache == "" {
		cache = tb.TempDir()
	}
	flags := []string{subcommand, "--node-modules-dir=manual", "--no-lock", "--no-remote"}
	if subcommand == "run" {
		flags = append(flags, "--no-prompt", "--no-check")
	}
	cmd := exec.CommandContext(tb.Context(), deno, append(flags, args...)...)
	cmd.Dir = harness
	cmd.Env = append(os.Environ(), "DENO_DIR="+cache, "NO_COLOR=1", "DENO_NO_UPDATE_CHECK=1")
	return cmd
}
