package crash

import (
	"os"
	"testing"

	_ "github.com/waylume/waylume/cmd/waylumed/internal/daemon" // so that no result is kept over a change of the program
	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has the tests in a network namespace of their own, where an internet can be.
func TestMain(m *testing.M) { os.Exit(netns.Main(m, "-test.parallel=1")) }
