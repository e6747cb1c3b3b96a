// Package testutil has what the tests of several packages share.
//
// A test that needs what not every machine has, a privilege or a program, says so with [RequireRoot] or [RequireTool], or
// with [Require] and a probe of its own. It is skipped, with the reason, on a machine that lacks it, and fails where CI
// runs, so that no test is lost there unnoticed:
//
//	func TestNamespaces(t *testing.T) {
//		testutil.RequireRoot(t)
//		...
//	}
//
// Only tests import it. It needs no privilege and starts nothing.
package testutil
