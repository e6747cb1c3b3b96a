package sessiontest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has the tests in a network namespace of their own, with an internet beside it.
func TestMain(m *testing.M) {
	code := netns.Main(m, "-test.parallel=1")
	if programDir != "" {
		if err := os.RemoveAll(programDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var programDir string // empty: nothing was built

// program builds waylumed, once, and returns its path.
var program = sync.OnceValues(func() (path string, err error) {
	if programDir, err = os.MkdirTemp("", "waylumed"); err != nil {
		return "", err
	}
	path = filepath.Join(programDir, "waylumed")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "github.com/waylume/waylume/cmd/waylumed")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build waylumed: %w: %s", err, out)
	}
	return path, nil
})
