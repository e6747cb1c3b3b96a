package wgdev

import (
	"testing"
	"time"

	"github.com/waylume/waylume/internal/testutil/vm"
)

// TestVM runs this package's tests in a virtual machine that has the kernel's WireGuard module.
func TestVM(t *testing.T) {
	vm.Require(t)
	if testing.Short() {
		t.Skip("a virtual machine takes a while")
	}
	vm.TestPackage(t, vm.Config{
		Modules: []string{"wireguard", "tun", "veth", "dummy"}, Programs: []string{"ip"}, Time: 5 * time.Minute,
	}, "-test.v", "-test.timeout=4m", "-test.skip=^TestVM$|^TestNoModule$|^TestTUN")
}
