package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
)

// tool is a program that a machine needs on its host.
type tool struct{ program, debian string }

func tools() []tool {
	return []tool{{"qemu-system-x86_64", "qemu-system-x86"}, {"busybox", "busybox-static"}, {"depmod", "kmod"}}
}

// Require ends the test as [testutil.Require] does where no machine can run. What is missing is installed first where that
// can be done: as root, with apt-get, and with the network. In a machine it skips the test, as there is none inside another.
func Require(tb testing.TB) {
	tb.Helper()
	if Inside() {
		tb.Skip("this is in a virtual machine already")
	}
	testutil.Require(tb, provide(tb))
}

// provide sees to it that a machine can run, and says what keeps one from it.
func provide(tb testing.TB) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("needs Linux on amd64 for a virtual machine, this is %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	var missing []string
	for _, t := range tools() {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, t.debian)
		}
	}
	if len(missing) > 0 {
		if err := install(tb, missing); err != nil {
			return fmt.Errorf("needs Debian's packages %s for a virtual machine: %w", strings.Join(missing, ", "), err)
		}
	}
	_, err := getKernel(tb.Context())
	if err != nil && os.Geteuid() == 0 { // with lists of packages that are not there yet, or of another day
		if _, err := apt(tb.Context(), "/", "apt-get", "update", "-qq"); err != nil {
			return err
		}
		_, err = getKernel(tb.Context())
	}
	return err
}

func install(tb testing.TB, packages []string) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can install them: apt-get install")
	}
	tb.Logf("installing %s", strings.Join(packages, ", "))
	if _, err := apt(tb.Context(), "/", "apt-get", "update", "-qq"); err != nil {
		return err
	}
	_, err := apt(tb.Context(), "/", append([]string{
		"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends",
	}, packages...)...)
	return err
}

// TestPackage builds the tests of the package in the current directory, which is that of the caller's, and runs them in a
// machine with args for the test program, such as "-test.v" and "-test.run=^TestModule$". The test fails if they do. The
// package's directory testdata is there too.
func TestPackage(tb testing.TB, cfg Config, args ...string) {
	tb.Helper()
	program := BuildTests(tb)
	if _, err := os.Stat("testdata"); err == nil {
		cfg.Dirs = append(slices.Clone(cfg.Dirs), "testdata")
	}
	failures := &failures{}
	code, err := Run(tb.Context(), cfg, io.MultiWriter(tb.Output(), failures), program, args...)
	require.NoError(tb, err)
	require.Zero(tb, code, "exit code of the tests in the machine:\n%s", failures)
}

// failures keeps what is said of the first failures, for those who see no more than the end of the output.
type failures struct {
	text strings.Builder
	open bool // the lines that come are about a failure
}

const maxFailures = 8 << 10

// Write takes whole lines.
func (f *failures) Write(lines []byte) (int, error) {
	for line := range strings.Lines(string(lines)) {
		trimmed := strings.TrimSpace(line)
		f.open = strings.HasPrefix(trimmed, "Error Trace:") || strings.HasPrefix(trimmed, "panic:") ||
			f.open && !strings.HasPrefix(trimmed, "=== ") && !strings.HasPrefix(trimmed, "--- ")
		if (f.open || strings.HasPrefix(trimmed, "--- FAIL")) && f.text.Len() < maxFailures {
			f.text.WriteString(line)
		}
	}
	return len(lines), nil
}

func (f *failures) String() string { return f.text.String() }

// BuildTests builds the tests of the package in the current directory as [TestPackage] runs them: a static program, without the
// race detector, which in a machine would be too slow. It returns the program's path.
func BuildTests(tb testing.TB) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "program")
	build := exec.CommandContext(tb.Context(), "go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(tb, err, "go test -c: %s", out)
	return program
}
