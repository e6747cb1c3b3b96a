// Package vm runs test programs in Debian's cloud kernel, in QEMU, under software emulation: for what the machine's own kernel
// lacks, such as the WireGuard module. It needs no privilege but to install what is missing.
//
//	func TestVM(t *testing.T) {
//		vm.Require(t)
//		vm.TestPackage(t, vm.Config{Modules: []string{"wireguard"}, Programs: []string{"ip", "nft"}}, "-test.run=^TestModule$")
//	}
//
// [TestPackage] builds the tests of the package that it is called from and runs them in the machine as root, with the modules
// loaded, and its output is theirs. There [Inside] is true. The machine has two processors, a loopback, no disk and no network
// but what the tests make, and the programs that the configuration names. It boots in some seconds and computes at about a
// tenth of its host's speed; what is to be measured by the clock wants [Config.OwnTime].
//
// The kernel is downloaded once and kept in the user's cache directory.
//
// Only tests import it, and the program that has benchmarks run in a machine.
package vm
