package up

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestMain has all tests in a network namespace of theirs where there can be one: the dataplane of the kernel changes it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(namespaced{m}) }

type namespaced struct{ m *testing.M }

func (n namespaced) Run() int { return netns.Main(n.m, "-test.parallel=1") }
