//go:build linux

package kernel_test

import (
	"os"
	"testing"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has all tests of this package in one network namespace that is theirs, one after the other: whatever they leave,
// the next one finds.
func TestMain(m *testing.M) { os.Exit(netns.Main(m, "-test.parallel=1")) }
