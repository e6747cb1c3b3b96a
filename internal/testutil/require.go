package testutil

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// ciVariable is "true" where CI runs, by the convention of most CI services.
const ciVariable = "CI"

// RequireRoot ends the test as [Require] does unless it runs as root.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	Require(tb, asRoot(os.Geteuid()))
}

// asRoot takes an effective user id, which is -1 on Windows.
func asRoot(euid int) error {
	if euid != 0 {
		return fmt.Errorf("needs root, runs as user %d", euid)
	}
	return nil
}

// RequireTool ends the test as [Require] does unless there is a program of this name; debian names the package that has it.
// It returns the program's path.
func RequireTool(tb testing.TB, name, debian string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		err = fmt.Errorf("needs the program %s, which Debian has in package %s: %w", name, debian, err)
	}
	Require(tb, err)
	return path
}

// Require goes on when lack is nil. Else the test ends here, with lack as the reason: it fails where the environment has
// CI=true, and is skipped elsewhere.
func Require(tb testing.TB, lack error) {
	tb.Helper()
	switch {
	case lack == nil:
	case os.Getenv(ciVariable) == "true":
		tb.Fatalf("CI must have what this test needs: %v", lack)
	default:
		tb.Skip(lack)
	}
}
