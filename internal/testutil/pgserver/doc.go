// Package pgserver runs a real PostgreSQL for tests, from the programs that are installed, such as those of Debian's package
// postgresql. A test that runs where there are none ends as [testutil.Require] says.
//
//	func TestFleet(t *testing.T) {
//		dsn := pgserver.Shared(t).Database(t, "fleet", migrate.Up)
//		pool, err := pgxpool.New(t.Context(), dsn)
//		...
//	}
//
// [Shared] starts one server for all tests of a package, when the first asks for it. [Server.Database] gives each test a database of
// its own, copied in some hundredths of a second from a template that was made once. [Start] and [StartConfig] make a server that a
// test has for itself, and may stop, restart, kill, copy as a standby and starve of disk.
//
// A server listens on the loopback, at a port that was free, and on a socket in its directory. It forgets what was written when the
// machine crashes, since nothing is synced, but not when it is killed. PostgreSQL refuses to run as root: a test that does has it run as the user postgres, or
// nobody. However the test program ends, a shell that waits for its end stops the server and removes what it wrote.
//
// Only tests import it. It needs no privilege.
package pgserver
