// Package netns runs a package's tests in a network namespace of their own, where they may have links, addresses, routes and
// firewalls as they like and the machine's own notice nothing.
//
//	func TestMain(m *testing.M) { os.Exit(netns.Main(m, "-test.parallel=1")) }
//
//	func TestForwarding(t *testing.T) {
//		netns.Require(t)
//		far := netns.New(t) // a second host
//		netns.Veth(t, netns.End{Name: "near"}, netns.End{Name: "far", Namespace: far})
//		...
//	}
//
// [Main] starts the test program again, as the same command in new namespaces: network, mounts and host name. There the
// loopback is up and has nothing beside it, /sys shows the new namespace, /run is empty, and no mount gets out. All goes with
// the last process in it. What the tests do to files elsewhere, and to sysctls that are not net's, is done to the machine.
//
// Root may always do that. Anybody else gets a user namespace too, where the system allows one, and is root in it. Where it
// does not, and on systems other than Linux, the tests run where they are, and [Require] says what those that call it lack.
//
// Only tests import it.
package netns
