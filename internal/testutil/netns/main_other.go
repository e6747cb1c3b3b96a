//go:build !linux

package netns

import (
	"os"
	"testing"
)

// Main runs the tests where they are, as only Linux has network namespaces.
func Main(m *testing.M, _ ...string) int {
	_ = os.Setenv(stateVariable, "needs a network namespace, which Linux has")
	return m.Run()
}
