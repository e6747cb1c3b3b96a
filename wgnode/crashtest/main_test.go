package crashtest

import (
	"os"
	"testing"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has the tests in a network namespace of their own, and is what their processes are started with.
func TestMain(m *testing.M) {
	if asked, ok := os.LookupEnv(orderVariable); ok {
		os.Exit(serve(asked))
	}
	if dir, ok := os.LookupEnv(rotationVariable); ok {
		os.Exit(serveRotation(dir, os.Getenv(keyFileVariable), os.Getenv(overlapVariable) != ""))
	}
	os.Exit(withZones(func() int { return netns.Main(m, "-test.parallel=1") }))
}
