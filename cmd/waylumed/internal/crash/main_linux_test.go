package crash

import (
	"os"
	"testing"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has the tests in a network namespace of their own, where an internet can be.
func TestMain(m *testing.M) { os.Exit(netns.Main(m, "-test.parallel=1")) }
