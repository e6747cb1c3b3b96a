package fleettest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	_ "github.com/waylume/waylume/cmd/waylumed/internal/daemon" // so that no result is kept over a change of the program
	"github.com/waylume/waylume/internal/testutil/netns"
)

// patience is how long anything may take that nobody holds up.
const patience = 60 * time.Second

// TestMain has the tests in a network namespace of their own, where the control plane and the clients are.
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

// program builds waylumed, once, and returns its path. It has the race detector if the tests have it.
var program = sync.OnceValues(func() (path string, err error) {
	if programDir, err = os.MkdirTemp("", "waylumed"); err != nil {
		return "", err
	}
	path = filepath.Join(programDir, "waylumed")
	cmd := exec.Command("go", "build", "-buildvcs=false", fmt.Sprint("-race=", underRace), "-ldflags=-s -w", "-o", path,
		"github.com/waylume/waylume/cmd/waylumed")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build waylumed: %w: %s", err, out)
	}
	return path, nil
})

// eventually waits for something to become true that nobody holds up.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, patience, 20*time.Millisecond, what)
}
