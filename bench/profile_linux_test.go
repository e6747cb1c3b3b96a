package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// writeProfiles has the exit's profiles under load in the directory that BENCH_PROFILE names, if any, by the benchmark's name: where its
// processor time goes, and where its goroutines wait for locks.
func writeProfiles(b *testing.B, x *exit) {
	dir := os.Getenv("BENCH_PROFILE")
	if dir == "" {
		return
	}
	name := strings.NewReplacer("/", ",", "=", "-").Replace(strings.TrimPrefix(b.Name(), "Benchmark"))
	for _, kind := range []string{"cpu", "mutex"} {
		profile := x.profile(b, kind, span())
		require.NoError(b, os.WriteFile(filepath.Join(dir, name+"."+kind), profile, 0o600))
	}
}
