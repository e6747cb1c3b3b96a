package bench

import (
	"os"
	"testing"
	"time"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has the benchmarks in a network namespace of their own, and is what their processes are started with.
func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(netns.Main(m, "-test.parallel=1"))
	case roleExit:
		os.Exit(serve(newExitService()))
	case roleClient:
		os.Exit(serve(new(clientService)))
	default:
		panic("no role: " + role)
	}
}

// full reports that the measurements are to be long, and all cases measured.
func full() bool { return os.Getenv("BENCH_FULL") != "" }

// span is the length of one measurement: some seconds, or longer in a full run.
func span() time.Duration {
	if full() {
		return 10 * time.Second
	}
	return 2 * time.Second
}
