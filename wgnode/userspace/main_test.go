package userspace

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain also covers the clients of the tests: gVisor's stacks and wireguard-go's devices are joined like our own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
